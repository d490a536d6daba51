"""Compilations are bounded, end with who waits for them, and leave room for others.

What is compiled plays a library at its worst; the processes are real. Nothing is timed: what never
ends has to be ended for these tests to end.
"""

import asyncio
from collections.abc import Awaitable, Callable

import psutil
import pytest

from server.engine.structured.compilations import (
    REMEMBERED_BYTES,
    Compilations,
    CompilerGone,
    ModelVocabulary,
)
from server.engine.structured.settings import StructuredOutputSettings
from tests.support import odd_compiler

VOCABULARY = ModelVocabulary("model", 1, "odd")
LOOP = {"do": "loop"}
AGES = 3_600.0


def run(
    work: Callable[[Compilations], Awaitable[None]], *, max_compile_s: float = AGES, **settings: int
) -> None:
    bounds = StructuredOutputSettings(max_compile_s=max_compile_s, **settings)

    async def within() -> None:
        compilations = Compilations(VOCABULARY, bounds, odd_compiler.make)
        try:
            await work(compilations)
        finally:
            await compilations.close()

    asyncio.run(within())


def process(compilations: Compilations) -> psutil.Process:
    """The process that they are forked off."""
    assert compilations._server is not None
    return psutil.Process(compilations._server.process.pid)


def jobs(compilations: Compilations) -> list[psutil.Process]:
    """The processes that compile now."""
    return process(compilations).children()


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - processes have no event for it
        await asyncio.sleep(0.01)


async def begun(compilations: Compilations, tenant: str) -> asyncio.Task:
    """What never ends, once it has begun."""
    await compilations.start()
    before = len(jobs(compilations))
    task = asyncio.create_task(compilations.verdict(tenant, LOOP))
    await until(lambda: len(jobs(compilations)) == before + 1)
    return task


def test_what_compiles_without_end_is_ended_and_the_next_is_served():
    async def work(compilations: Compilations) -> None:
        for _ in range(2):
            assert (await compilations.verdict("a", {**LOOP, "n": _})).outcome == "time"
            assert (await compilations.verdict("a", {"do": "", "n": _})).outcome == "fits"
        assert not jobs(compilations)

    run(work, max_compile_s=0.1, max_compilations=1)


@pytest.mark.parametrize(("do", "outcome"), [("eat", "memory"), ("abort", "memory")])
def test_what_takes_too_much_memory_is_told(do: str, outcome: str):
    async def work(compilations: Compilations) -> None:
        assert (await compilations.verdict("a", {"do": do})).outcome == outcome
        assert (await compilations.verdict("a", {"do": ""})).outcome == "fits"

    run(work)


def test_what_fails_is_tried_again_and_fails_alone():
    async def work(compilations: Compilations) -> None:
        for _ in range(2):
            assert (await compilations.verdict("a", {"do": "raise"})).outcome == "failed"
        assert (await compilations.verdict("a", {"do": ""})).outcome == "fits"

    run(work)


def test_what_a_library_prints_is_no_answer():
    async def work(compilations: Compilations) -> None:
        assert (await compilations.verdict("a", {"do": "print"})).backend == "odd"

    run(work)


def test_who_leaves_ends_the_compilation():
    async def work(compilations: Compilations) -> None:
        task = await begun(compilations, "a")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: not jobs(compilations))
        assert (await compilations.verdict("a", {"do": ""})).outcome == "fits"
        assert not compilations._waiting

    run(work, max_compilations=1)


def test_a_key_compiles_one_at_a_time_and_others_go_on():
    async def work(compilations: Compilations) -> None:
        hostile = [await begun(compilations, "a")]
        hostile += [
            asyncio.create_task(compilations.verdict("a", {**LOOP, "n": n})) for n in range(9)
        ]
        for n in range(3):
            assert (await compilations.verdict("b", {"do": "", "n": n})).outcome == "fits"
        assert len(jobs(compilations)) == 1
        for task in hostile:
            task.cancel()
        await asyncio.gather(*hostile, return_exceptions=True)
        assert not compilations._turns

    run(work, max_compilations=2)


def test_no_more_compile_at_once_than_may():
    async def work(compilations: Compilations) -> None:
        first = [await begun(compilations, name) for name in "ab"]
        waiting = asyncio.create_task(compilations.verdict("c", {"do": ""}))
        await asyncio.sleep(0)
        assert len(jobs(compilations)) == 2
        assert not waiting.done()
        first[0].cancel()
        assert (await waiting).outcome == "fits"
        first[1].cancel()
        await asyncio.gather(*first, return_exceptions=True)

    run(work, max_compilations=2)


def test_what_was_tried_is_remembered_as_long_as_the_engine_has_it():
    async def work(compilations: Compilations) -> None:
        half = REMEMBERED_BYTES // 2
        first = await compilations.verdict("a", {"do": "", "size": half})
        assert await compilations.verdict("b", {"do": "", "size": half}) is first
        await compilations.verdict("a", {"do": "", "size": half, "n": 1})
        assert await compilations.verdict("a", {"do": "", "size": half}) is first
        await compilations.verdict("a", {"do": "", "size": half, "n": 2})
        assert await compilations.verdict("a", {"do": "", "size": half}) is first
        await compilations.verdict("a", {"do": "", "size": 2 * half, "n": 3})
        assert await compilations.verdict("a", {"do": "", "size": half}) is not first

    run(work)


def test_schemas_of_another_order_are_others():
    async def work(compilations: Compilations) -> None:
        first = {"do": "", "json": {"properties": {"a": {}, "b": {}}}}
        other = {"do": "", "json": {"properties": {"b": {}, "a": {}}}}
        await compilations.verdict("a", first)
        told = (await compilations.verdict("a", other)).constraint
        assert told is not None
        assert list(told["json"]["properties"]) == ["b", "a"]

    run(work)


def test_a_process_that_was_ended_is_started_anew():
    async def work(compilations: Compilations) -> None:
        before = (await compilations.verdict("a", {"do": ""})).message
        task = await begun(compilations, "a")
        process(compilations).kill()
        after = await compilations.verdict("b", {"do": "", "n": 1})
        assert (after.outcome, after.message != before) == ("fits", True)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(work)


def test_a_process_that_does_not_start_is_an_error():
    async def work() -> None:
        compilations = Compilations(VOCABULARY, StructuredOutputSettings(), odd_compiler.fail)
        with pytest.raises(CompilerGone, match="did not start"):
            await compilations.verdict("a", {"do": ""})

    asyncio.run(work())


def test_nothing_outlives_the_server():
    async def work(compilations: Compilations) -> None:
        task = await begun(compilations, "a")
        assert compilations._server is not None
        left = [process(compilations), *jobs(compilations)]
        compilations._server.writer.close()
        await until(lambda: not any(one.is_running() for one in left))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(work)
