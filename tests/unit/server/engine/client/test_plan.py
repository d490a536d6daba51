"""A plan holds for the block that it was made for, and for nothing that outlives or follows it."""

import asyncio
import contextvars

import pytest
from starlette.routing import Route

from router.mixture import BASE_MODEL
from server.edge.guard import Guard
from server.engine.client.plan import (
    GenerationPlan,
    NoPlan,
    planned,
    required_plan,
    running_plan,
    without_plan,
)
from tests.support.access import guarded

PLAN = GenerationPlan((BASE_MODEL,), "tenant")


def test_there_is_no_plan_but_within_its_block():
    with pytest.raises(NoPlan):
        required_plan()
    with planned(PLAN):
        assert required_plan() is PLAN
    with pytest.raises(NoPlan):
        required_plan()


def test_a_plan_without_a_mixture_is_none():
    with planned(GenerationPlan(())), pytest.raises(NoPlan):
        required_plan()


def test_plans_that_are_nested_end_one_by_one():
    other = GenerationPlan((BASE_MODEL,), "other")
    with planned(PLAN):
        with planned(other):
            assert required_plan() is other
        assert required_plan() is PLAN


def test_a_task_within_the_block_has_the_plan_and_loses_it_with_the_block():
    async def run() -> list[GenerationPlan | None]:
        seen: list[GenerationPlan | None] = []
        ended = asyncio.Event()

        async def work() -> None:
            seen.append(running_plan())
            await ended.wait()
            seen.append(running_plan())

        with planned(PLAN):
            task = asyncio.create_task(work())
            await asyncio.sleep(0)
        ended.set()
        await task
        return seen

    assert asyncio.run(run()) == [PLAN, None]


def test_a_context_that_was_kept_has_no_plan_after_the_block():
    with planned(PLAN):
        kept = contextvars.copy_context()
        assert kept.run(running_plan) is PLAN
    assert kept.run(running_plan) is None
    with pytest.raises(NoPlan):
        kept.run(required_plan)


def test_what_begins_without_a_plan_has_none():
    with planned(PLAN):
        with without_plan():
            assert running_plan() is None
        assert running_plan() is PLAN


def test_a_request_that_begins_in_the_context_of_another_has_no_plan():
    """As the next one on a connection does, if it came before the last one's answer had ended."""
    seen: list[GenerationPlan | None] = []

    async def app(scope, receive, send) -> None:
        seen.append(running_plan())

    async def nothing(*_: object) -> None:
        return

    guard = Guard(app, **guarded(routes=[Route("/x", app)]))
    scope = {"type": "http", "method": "GET", "path": "/x", "root_path": "", "headers": []}

    async def run() -> None:
        with planned(PLAN):
            await guard(scope, nothing, nothing)

    asyncio.run(run())
    assert seen == [None]
