import asyncio

import pytest

from server.errors import AdaptersBusy, MixtureTooLarge
from server.residency.residency import Residency
from tests.support.slots import Slots, leased, run, until


def test_a_missing_adapter_is_loaded_once_and_kept():
    async def scenario():
        slots = Slots(2)
        residency = Residency(slots, 2)
        async with leased(residency, "a"):
            assert residency.leases == 1
        async with leased(residency, "a"):
            assert slots.held == {"a"}
        assert slots.log == ["+a"]
        assert residency.leases == 0

    run(scenario())


def test_the_least_recently_used_adapter_makes_room():
    async def scenario():
        slots = Slots(2)
        residency = Residency(slots, 2)
        for name in ("a", "b", "a", "c"):
            async with leased(residency, name):
                pass
        assert slots.log == ["+a", "+b", "-b", "+c"]

    run(scenario())


def test_leased_adapters_are_never_evicted_and_waiters_are_served_in_order():
    async def scenario():
        slots = Slots(2)
        residency = Residency(slots, 2)
        order: list[str] = []

        async def use(name: str) -> None:
            async with leased(residency, name):
                assert name in slots.held
                order.append(name)
                await asyncio.sleep(0.005)

        async with leased(residency, "ab"):
            waiting = [asyncio.create_task(use(name)) for name in ("c", "d", "e")]
            await until(lambda: residency.waiting == 3)
            await asyncio.sleep(0.02)
            assert slots.held == {"a", "b"}
        await asyncio.gather(*waiting)
        assert order == ["c", "d", "e"]

    run(scenario())


def test_a_request_whose_members_stay_passes_one_that_waits_for_room():
    async def scenario():
        slots = Slots(3)
        residency = Residency(slots, 3)
        await residency.acquire("abc")
        await residency.acquire("b")
        await residency.acquire("c")
        waiting = asyncio.create_task(residency.acquire("d"))
        await until(lambda: residency.waiting == 1)
        await asyncio.sleep(0.01)
        assert residency.try_acquire("b")
        assert not residency.try_acquire("a"), "a is to make room, so nobody prolongs it"
        residency.release("abc")
        await waiting
        assert slots.held == {"b", "c", "d"}

    run(scenario())


def test_a_steady_stream_of_users_does_not_starve_a_waiter():
    async def scenario():
        residency = Residency(Slots(1), 1)
        served = asyncio.Event()

        async def keep_using() -> None:
            while not served.is_set():
                async with leased(residency, "a"):
                    await asyncio.sleep(0.002)

        users = [asyncio.create_task(keep_using()) for _ in range(3)]
        await asyncio.sleep(0.01)
        async with leased(residency, "b"):
            served.set()
        await asyncio.gather(*users)

    run(scenario())


def test_the_base_model_never_waits():
    async def scenario():
        residency = Residency(Slots(1), 1)
        async with leased(residency, "a"):
            assert residency.try_acquire([])

    run(scenario())


def test_more_members_than_slots_are_refused():
    async def scenario():
        with pytest.raises(MixtureTooLarge) as caught:
            await Residency(Slots(2), 2).acquire("abc")
        assert str(caught.value) == (
            "3 adapters are needed at once, but the engine has 2 slots; use fewer members (top_k), "
            "or start the server with more --max-loras"
        )

    run(scenario())


def test_as_many_members_as_slots_are_served_and_each_counts_once():
    async def scenario():
        residency = Residency(Slots(2), 2)
        async with leased(residency, "abba"):
            assert residency.leases == 2
            assert residency.leases_of("a") == 1
        assert residency.leases == residency.leases_of("a") == 0

    run(scenario())


def test_what_is_in_a_slot_or_waited_for_is_needed():
    async def scenario():
        residency = Residency(Slots(2), 2)
        await residency.acquire("ab")
        waiting = [asyncio.create_task(residency.acquire(one)) for one in ("c", "da")]
        await until(lambda: residency.waiting == 2)
        assert residency.needed == {"a", "b", "c", "d"}
        await residency.close()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert residency.needed == {"a", "b"}

    run(scenario())


def test_hits_misses_and_evictions_are_counted():
    async def scenario():
        residency = Residency(Slots(2), 2)
        counts = []
        for names in ("ab", "a", "", "ab", "c", "ca"):
            async with leased(residency, names):
                counts.append((residency.hits, residency.misses, residency.evictions))
        assert counts == [(0, 1, 0), (1, 1, 0), (1, 1, 0), (2, 1, 0), (2, 2, 1), (2, 3, 2)]

    run(scenario())


def test_the_time_of_each_load_is_told_and_who_waits_for_it():
    async def scenario():
        slots = Slots(2)
        seconds: list[float] = []
        residency = Residency(slots, 2, on_load=seconds.append)
        await residency.warm("a")
        await residency.acquire("ab")
        assert len(seconds) == 2
        assert all(0 < each < 10 for each in seconds)
        assert slots.waiting == [0, 1]

    run(scenario())


def test_stopping_cancels_who_waits():
    async def scenario():
        slots = Slots(1)
        residency = Residency(slots, 1)
        await residency.close()
        await residency.acquire("a")
        waiting = [asyncio.create_task(residency.acquire(one)) for one in "bc"]
        await until(lambda: residency.waiting == 2)
        await residency.close()
        assert residency.waiting == 0
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in outcomes] == [asyncio.CancelledError] * 2
        residency.release("a")
        await asyncio.sleep(0.01)
        assert slots.log == ["+a"], "nobody is served any more"

    run(scenario())


def test_who_gives_up_waiting_for_others_leaves_the_queue_at_once():
    async def scenario():
        residency = Residency(Slots(1), 1)
        await residency.acquire("a")
        first, second = (asyncio.create_task(residency.acquire(one)) for one in "bc")
        await until(lambda: residency.waiting == 2)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert residency.waiting == 1
        residency.release("a")
        await first
        assert residency.leases_of("b") == 1

    run(scenario())


@pytest.mark.parametrize(
    ("needs", "passing"), [("d", "bc"), ("de", "c"), ("cd", "bc"), ("ade", "a"), ("cde", "c")]
)
def test_only_as_many_drain_as_a_waiter_lacks(needs: str, passing: str):
    """Of a, b and c, of which the least used ones make room: a first, then b."""

    async def scenario():
        residency = Residency(Slots(3), 3)
        for names in ("abc", "bc", "c"):
            await residency.acquire(names)
        waiting = asyncio.create_task(residency.acquire(needs))
        await until(lambda: residency.waiting == 1)
        await asyncio.sleep(0.01)
        assert "".join(one for one in "abc" if residency.try_acquire(one)) == passing
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await until(lambda: residency.waiting == 0)
        assert all(residency.try_acquire(one) for one in "abc"), "nothing drains for nobody"

    run(scenario())


@pytest.mark.parametrize(
    ("longest", "seconds"), [(0.5, 1), (5, 1), (7, 2), (40, 10), (116, 29), (124, 30), (600, 30)]
)
def test_a_refusal_says_when_to_come_back_by_how_long_others_wait(longest: float, seconds: int):
    async def scenario():
        residency = Residency(Slots(1), 1, max_waiting=0, max_wait_s=longest)
        await residency.acquire("")
        with pytest.raises(AdaptersBusy) as caught:
            await residency.acquire("a")
        assert caught.value.retry_after == seconds
        assert str(caught.value) == (
            "all 1 adapter slots are in use and 0 requests wait already; try again later"
        )

    run(scenario())


def test_a_full_queue_is_refused_with_a_hint_when_to_come_back():
    async def scenario():
        residency = Residency(Slots(1), 1, max_waiting=1)
        await residency.acquire("a")
        waiting = asyncio.create_task(residency.acquire("b"))
        await until(lambda: residency.waiting == 1)
        with pytest.raises(AdaptersBusy) as caught:
            await residency.acquire("c")
        assert caught.value.retry_after >= 1
        waiting.cancel()
        await until(lambda: residency.waiting == 0)

    run(scenario())


def test_waiting_ends_after_the_limit_and_leaves_nothing_behind():
    async def scenario():
        residency = Residency(Slots(1), 1, max_wait_s=0.02)
        await residency.acquire("a")
        with pytest.raises(AdaptersBusy) as caught:
            await residency.acquire("b")
        assert str(caught.value) == (
            "no adapter slot came free within 0.02 seconds; try again later"
        )
        await until(lambda: residency.waiting == 0)
        residency.release("a")
        assert residency.leases == 0
        async with leased(residency, "b"):
            pass

    run(scenario())


@pytest.mark.parametrize("moment", [0, 0.0005, 0.001, 0.0015, 0.002, 0.003])
def test_a_cancelled_wait_never_keeps_a_lease(moment):
    async def scenario():
        slots = Slots(1)
        residency = Residency(slots, 1)
        task = asyncio.create_task(residency.acquire("a"))
        await asyncio.sleep(moment)
        cancelled = task.cancel()
        outcome = await asyncio.gather(task, return_exceptions=True)
        await until(lambda: residency.waiting == 0)
        kept = 0 if cancelled and isinstance(outcome[0], asyncio.CancelledError) else 1
        assert residency.leases == kept

    run(scenario())


def test_a_wait_that_is_cancelled_as_it_ends_keeps_no_lease():
    async def scenario():
        class Cancelling(Slots):
            async def load(self, digest: str, waiting: int) -> None:
                await super().load(digest, waiting)
                asyncio.get_running_loop().call_soon(task.cancel)

        residency = Residency(Cancelling(1), 1)
        task = asyncio.create_task(residency.acquire("a"))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert residency.resident == ("a",)
        assert residency.leases == 0

    run(scenario())


def test_a_load_that_fails_for_nobody_stops_nobody():
    async def scenario():
        slots = Slots(2)
        slots.broken.add("x")
        residency = Residency(slots, 2)
        gone = asyncio.create_task(residency.acquire("x"))
        await until(lambda: slots.busy)
        waiting = asyncio.create_task(residency.acquire("a"))
        gone.cancel()
        await waiting
        assert residency.resident == ("a",)

    run(scenario())


class Gated(Slots):
    """Slots that load once they are let."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.gate = asyncio.Event()
        self.loading = False

    async def load(self, digest: str, waiting: int) -> None:
        self.loading = True
        try:
            await self.gate.wait()
            await super().load(digest, waiting)
        finally:
            self.loading = False


@pytest.mark.parametrize(
    ("needed", "capacity", "log"), [("a", 2, ["+a"]), ("b", 1, ["+a", "-a", "+b"])]
)
def test_what_is_warmed_meanwhile_is_neither_loaded_again_nor_in_the_way(
    needed: str, capacity: int, log: list[str]
):
    async def scenario():
        slots = Gated(capacity)
        residency = Residency(slots, capacity)
        warming = asyncio.create_task(residency.warm("a"))
        await until(lambda: slots.loading)
        waiting = asyncio.create_task(residency.acquire(needed))
        await until(lambda: residency.waiting == 1)
        await asyncio.sleep(0.01)
        slots.gate.set()
        await asyncio.gather(warming, waiting)
        assert slots.log == log

    run(scenario())


def test_nothing_is_loaded_any_more_once_it_has_stopped():
    async def scenario():
        slots = Gated(1)
        residency = Residency(slots, 1)
        waiting = asyncio.create_task(residency.acquire("a"))
        await until(lambda: slots.loading)
        await residency.close()
        assert not slots.loading
        await asyncio.gather(waiting, return_exceptions=True)
        assert slots.log == []

    run(scenario())


def test_what_is_leased_before_it_goes_stays_and_counts_as_no_eviction():
    async def scenario():
        slots = Slots(1)
        residency = Residency(slots, 1)
        await residency.warm("a")
        async with residency._moving:
            waiting = asyncio.create_task(residency.acquire("b"))
            await asyncio.sleep(0.01)
            assert residency.try_acquire("a")
        await asyncio.sleep(0.01)
        assert slots.held == {"a"}
        assert residency.evictions == 0
        residency.release("a")
        await waiting
        assert residency.evictions == 1

    run(scenario())


def test_a_failed_load_hits_only_the_request_that_asked():
    async def scenario():
        slots = Slots(2)
        slots.broken.add("x")
        residency = Residency(slots, 2)
        failed = asyncio.create_task(residency.acquire("x"))
        good = asyncio.create_task(residency.acquire("a"))
        with pytest.raises(RuntimeError, match="cannot load x"):
            await failed
        await good
        assert residency.resident == ("a",)
        assert residency.leases == 1

    run(scenario())


def test_warming_fills_free_slots_and_evicts_nothing():
    async def scenario():
        slots = Slots(2)
        residency = Residency(slots, 2)
        for name in "aabc":
            await residency.warm(name)
        assert slots.log == ["+a", "+b"]

    run(scenario())


def test_random_traffic_keeps_every_promise():
    async def scenario():
        import random

        rng = random.Random(0)
        slots = Slots(3)
        residency = Residency(slots, 3)

        async def request() -> None:
            needs = rng.sample("abcdef", rng.randint(0, 3))
            await asyncio.sleep(rng.random() / 50)
            async with leased(residency, needs):
                for _ in range(3):
                    assert set(needs) <= slots.held
                    await asyncio.sleep(rng.random() / 500)

        tasks = [asyncio.create_task(request()) for _ in range(200)]
        for task in rng.sample(tasks, 40):
            asyncio.get_running_loop().call_later(rng.random() / 10, task.cancel)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        wrong = [o for o in outcomes if isinstance(o, Exception)]
        assert wrong == []
        await until(lambda: residency.waiting == 0)
        assert residency.leases == 0
        assert set(residency.resident) == slots.held

    run(scenario())


def test_a_pinned_adapter_makes_room_for_nobody():
    async def scenario():
        slots = Slots(2)
        residency = Residency(slots, 2, pinned=["pet"])
        residency.set_names({"pet": "p", "other": "a"})
        for name in ("p", "a", "b", "c", "p"):
            async with leased(residency, name):
                pass
        assert slots.log == ["+p", "+a", "-a", "+b", "-b", "+c"]
        residency.set_names({"other": "a"})
        for name in ("c", "a"):
            async with leased(residency, name):
                pass
        assert slots.log[-2:] == ["-p", "+a"]

    run(scenario())


def test_slots_of_pinned_adapters_are_not_promised_to_others():
    async def scenario():
        slots = Slots(3)
        residency = Residency(slots, 3, pinned=["pet"])
        residency.set_names({"pet": "p"})
        with pytest.raises(MixtureTooLarge, match="3 slots, 1 of them kept for pinned"):
            residency.try_acquire("abc")
        async with leased(residency, "abp"):
            assert slots.held == {"a", "b", "p"}

    run(scenario())
