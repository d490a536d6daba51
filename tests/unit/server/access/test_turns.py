"""Callers take turns at a thread; what one has in plenty holds the others up by one piece."""

import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

from server.access.turns import TurnsExecutor, working_for


@pytest.fixture
def executor():
    one = TurnsExecutor("a-test")
    yield one
    one.shutdown()


def held(executor: TurnsExecutor) -> threading.Event:
    """Keep the thread busy until the event is set, and wait until it is."""
    begun, go = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go.wait(30)

    executor.submit(hold)
    assert begun.wait(30)
    return go


def test_a_caller_with_plenty_holds_others_up_by_one_piece(executor):
    done: list[str] = []
    go = held(executor)
    last = []
    for caller, count in (("a", 100), ("b", 2), ("c", 1)):
        with working_for(caller):
            last += [executor.submit(done.append, caller) for _ in range(count)]
    go.set()
    for future in last:
        future.result(30)
    assert done[:6] == ["a", "b", "c", "a", "b", "a"]
    assert done.count("a") == 100


def test_who_comes_while_another_works_is_next(executor):
    done: list[str] = []
    go = held(executor)
    with working_for("a"):
        plenty = [executor.submit(done.append, "a") for _ in range(50)]
    go.set()
    plenty[0].result(30)
    with working_for("b"):
        mine = executor.submit(lambda: len(done))
    assert mine.result(30) <= 50
    assert executor.submit(lambda: "ended").result(30) == "ended"


def test_the_thread_has_its_name_and_ends_with_the_process(executor):
    thread = executor.submit(threading.current_thread).result(30)
    assert (thread.name, thread.daemon) == ("a-test", True)


def test_who_hands_over_for_nobody_has_turns_like_a_caller(executor):
    done: list[str] = []
    go = held(executor)
    with working_for("a"):
        executor.submit(done.append, "a")
        executor.submit(done.append, "a")
        with working_for("b"):
            executor.submit(done.append, "b")
        executor.submit(done.append, "a")
    mine = [executor.submit(done.append, "nobody") for _ in range(2)]
    last = executor.submit(done.append, "nobody")
    go.set()
    for future in (*mine, last):
        future.result(30)
    assert done == ["a", "b", "nobody", "a", "nobody", "a", "nobody"]


def test_results_and_errors_come_back(executor):
    assert executor.submit(divmod, 7, 2).result(30) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 7, 0).result(30)
    assert executor.submit(pow, 2, exp=5).result(30) == 32


def test_what_is_cancelled_before_its_turn_is_not_done(executor):
    done: list[int] = []
    go = held(executor)
    left = executor.submit(done.append, 1)
    assert left.cancel()
    go.set()
    executor.submit(done.append, 2).result(30)
    assert done == [2]
    with pytest.raises(CancelledError):
        left.result(30)


def test_the_caller_is_that_of_the_task_that_hands_over(executor):
    done: list[str] = []

    async def ask(caller: str) -> None:
        with working_for(caller):
            loop = asyncio.get_running_loop()
            await asyncio.gather(
                *(loop.run_in_executor(executor, done.append, caller) for _ in range(3))
            )

    async def both() -> None:
        tasks = [asyncio.create_task(ask(caller)) for caller in "ab"]
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(*tasks)

    go = held(executor)
    asyncio.run(both())
    assert sorted(done) == ["a"] * 3 + ["b"] * 3


def test_what_waits_is_done_before_the_end_and_nothing_is_taken_after_it():
    executor, done = TurnsExecutor("a-test"), []
    go = held(executor)
    for number in range(3):
        executor.submit(done.append, number)
    executor.shutdown(wait=False)
    go.set()
    executor.shutdown()
    assert done == [0, 1, 2]
    with pytest.raises(RuntimeError, match="has ended"):
        executor.submit(done.append, 4)


def test_what_waits_is_dropped_if_it_is_to_be():
    executor, done = TurnsExecutor("a-test"), []
    go = held(executor)
    executor.submit(done.append, 1)
    executor.shutdown(wait=False, cancel_futures=True)
    go.set()
    executor.shutdown()
    assert done == []


def test_the_end_waits_for_the_thread_unless_told_otherwise():
    executor = TurnsExecutor("a-test")
    thread = executor.submit(threading.current_thread).result(30)
    go = held(executor)
    executor.shutdown(wait=False)
    assert thread.is_alive()
    go.set()
    executor.shutdown()
    assert not thread.is_alive()


def test_an_idle_executor_ends_at_once():
    executor = TurnsExecutor("a-test")
    thread = executor.submit(threading.current_thread).result(30)
    executor.shutdown(wait=False)
    thread.join(30)
    assert not thread.is_alive()


def test_why_nothing_more_is_taken_is_told():
    executor = TurnsExecutor("a-test")
    executor.shutdown()
    with pytest.raises(RuntimeError) as refused:
        executor.submit(print)
    assert str(refused.value) == "nothing more is taken: the executor has ended"
