"""Removing an adapter drains it first."""

import asyncio

import pytest

from server.errors import AdapterBeingRemoved
from server.residency.removals import adapter_removed
from server.residency.residency import Residency
from tests.support.slots import Slots, leased, run, until


def test_a_removal_drains_frees_the_slot_and_refuses_newcomers():
    async def scenario():
        slots = Slots(2)
        residency = Residency(slots, 2)
        await residency.acquire("a")
        gone = asyncio.Event()

        async def remove() -> None:
            async with residency.removing("a"):
                assert slots.held == set()
                with pytest.raises(AdapterBeingRemoved):
                    residency.try_acquire("a")
                gone.set()

        removal = asyncio.create_task(remove())
        await asyncio.sleep(0.01)
        assert not gone.is_set()
        with pytest.raises(AdapterBeingRemoved):
            await residency.acquire("a")
        residency.release("a")
        await removal
        async with leased(residency, "a"):
            assert slots.held == {"a"}, "the same content may come back later"

    run(scenario())


def test_a_removal_fails_those_who_wait_for_the_adapter():
    async def scenario():
        residency = Residency(Slots(1), 1)
        await residency.acquire("a")
        waiting = asyncio.create_task(residency.acquire("b"))
        await until(lambda: residency.waiting == 1)
        async with residency.removing("b"):
            with pytest.raises(AdapterBeingRemoved):
                await waiting

    run(scenario())


def test_a_removal_fails_at_once_who_waits_for_the_adapter_and_nobody_else():
    async def scenario():
        slots = Slots(1)
        residency = Residency(slots, 1)
        await residency.acquire("a")
        first, second, third = (asyncio.create_task(residency.acquire(one)) for one in "bcd")
        await until(lambda: residency.waiting == 3)
        async with residency.removing("c"):
            with pytest.raises(AdapterBeingRemoved, match=r"^an adapter of this request has just"):
                await second
            assert not first.done()
            assert not third.done()
            assert slots.held == {"a"}
        residency.release("a")
        await first
        residency.release("b")
        await third
        assert slots.log == ["+a", "-a", "+b", "-b", "+d"]

    run(scenario())


def test_what_goes_is_told_until_the_removal_ends():
    async def scenario():
        residency = Residency(Slots(2), 2)
        async with residency.removing("a"):
            assert residency.refuses("a")
            assert not residency.refuses("b")
        assert not residency.refuses("a")

    run(scenario())


def test_what_goes_is_not_warmed_and_all_else_is():
    async def scenario():
        slots = Slots(2)
        residency = Residency(slots, 2)
        async with residency.removing("a"):
            await residency.warm("a")
            assert slots.log == []
            await residency.warm("b")
            assert slots.log == ["+b"]

    run(scenario())


def test_others_are_lent_as_ever_while_one_goes():
    async def scenario():
        residency = Residency(Slots(2), 2)
        async with residency.removing("a"):
            await residency.acquire("b")
            assert residency.try_acquire("b")

    run(scenario())


def test_the_request_is_told_what_to_do_about_a_removal():
    message = "an adapter of this request has just been removed; send the request again without it"
    assert str(adapter_removed()) == message


def test_a_removal_lets_go_of_what_another_name_is_given_meanwhile():
    async def scenario():
        slots = Slots(2)
        residency = Residency(slots, 2)
        residency.set_names({})
        await residency.acquire("a")

        async def remove() -> None:
            async with residency.removing("a"):
                assert slots.held == {"a"}
                assert residency.try_acquire("a")

        removal = asyncio.create_task(remove())
        await asyncio.sleep(0.01)
        with pytest.raises(AdapterBeingRemoved):
            residency.try_acquire("a")
        residency.set_names({"other": "a"})
        assert residency.try_acquire("a"), "at once, not when the removal has ended"
        await asyncio.wait_for(removal, 1)
        assert residency.leases_of("a") == 3, "and nobody waited for any of them"

    run(scenario())


def test_what_another_name_has_when_the_removal_begins_stays():
    async def scenario():
        residency = Residency(Slots(1), 1)
        residency.set_names({"other": "a"})
        await residency.acquire("a")
        async with residency.removing("a"):
            assert residency.try_acquire("a")

    run(scenario())


def test_a_removal_that_was_called_off_ends_no_later_one():
    async def scenario():
        residency = Residency(Slots(1), 1)
        residency.set_names({})
        async with residency.removing("a"):
            residency.set_names({"other": "a"})
            residency.set_names({})
            later = residency.removing("a")
            await later.__aenter__()
        with pytest.raises(AdapterBeingRemoved):
            residency.try_acquire("a")
        await later.__aexit__(None, None, None)
        assert await residency.acquire("a") is None

    run(scenario())
