"""Removing an adapter drains it first."""

import asyncio

import pytest

from server.errors import AdapterLeaving, AdaptersBusy
from server.residency import Residency
from tests.support.slots import Slots, folders, run, until


def test_a_removal_drains_frees_the_slot_and_refuses_newcomers():
    async def scenario():
        slots = Slots(2)
        residency = Residency(slots, 2)
        await residency.acquire(folders("a"))
        gone = asyncio.Event()

        async def remove() -> None:
            async with residency.removing("a", 5):
                assert slots.held == set()
                with pytest.raises(AdapterLeaving):
                    residency.try_acquire(folders("a"))
                gone.set()

        removal = asyncio.create_task(remove())
        await asyncio.sleep(0.01)
        assert not gone.is_set()
        with pytest.raises(AdapterLeaving):
            await residency.acquire(folders("a"))
        residency.release(folders("a"))
        await removal
        async with residency.lease(folders("a")):
            assert slots.held == {"a"}, "the same content may come back later"

    run(scenario())


def test_a_removal_that_takes_too_long_changes_nothing():
    async def scenario():
        residency = Residency(Slots(1), 1)
        await residency.acquire(folders("a"))
        with pytest.raises(AdaptersBusy, match="still used by 1 running request"):
            async with residency.removing("a", 0.01):
                pytest.fail("entered while leased")
        assert residency.try_acquire(folders("a"))

    run(scenario())


def test_a_removal_fails_those_who_wait_for_the_adapter():
    async def scenario():
        residency = Residency(Slots(1), 1)
        await residency.acquire(folders("a"))
        waiting = asyncio.create_task(residency.acquire(folders("b")))
        await until(lambda: residency.waiting == 1)
        async with residency.removing("b", 1):
            with pytest.raises(AdapterLeaving):
                await waiting

    run(scenario())
