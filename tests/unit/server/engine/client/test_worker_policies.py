"""Which policies the workers hold, whatever becomes of the requests that use them."""

import asyncio
from typing import Any

import pytest

from router.centroids.index import Entry, built
from router.policies.config import parse_policy
from router.reweighing import Reweighing
from server.engine.client.worker_policies import IDLE_KEPT, WorkerPolicies
from server.engine.messages import PutPolicy

IDS = {"d-a": 1}


class Workers:
    """What workers hold by the calls that reached them; ``slow`` keeps the answers back."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.puts = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def call(self, method: str, arguments: tuple[Any, ...]) -> None:
        if method == "loralloy_put_policy":
            self.held.add(PutPolicy.from_wire(arguments[0]).key)
            self.puts += 1
        else:
            self.held.discard(arguments[0])
        await self.may_answer.wait()


def policy(number: int) -> Reweighing:
    config = parse_policy("auto", {"kind": "softmax", "scope": "token", "stride": number + 1})
    return Reweighing("auto", config, ("a",), built({"a": Entry("d-a")}))


async def use(policies: WorkerPolicies, number: int) -> str:
    async with policies.holding(policy(number), IDS) as key:
        return key


async def settled() -> None:
    for _ in range(500):
        await asyncio.sleep(0)


def test_a_policy_is_put_once_and_stays_for_the_next_request() -> None:
    async def run() -> None:
        workers = Workers()
        policies = WorkerPolicies(workers.call)
        first, again = await use(policies, 0), await use(policies, 0)
        assert first == again
        assert workers.puts == 1
        assert (workers.held, policies.used, len(policies)) == ({first}, 0, 1)

    asyncio.run(run())


def test_idle_policies_leave_oldest_first_and_used_ones_never() -> None:
    async def run() -> None:
        workers = Workers()
        policies = WorkerPolicies(workers.call)
        async with policies.holding(policy(0), IDS) as used:
            keys = [await use(policies, number) for number in range(1, IDLE_KEPT + 4)]
            assert workers.held == {used, *keys[3:]}
        assert workers.held == set(keys[3:])  # it was used longest ago
        assert len(policies) == IDLE_KEPT

    asyncio.run(run())


def test_a_client_that_leaves_while_its_policy_is_put_leaves_none_behind() -> None:
    async def run() -> None:
        workers = Workers()
        policies = WorkerPolicies(workers.call)
        workers.may_answer.clear()
        gone = [asyncio.create_task(use(policies, number)) for number in range(IDLE_KEPT + 8)]
        await settled()
        for _ in range(5):  # as often as the scope of a stream's tasks cancels them
            for task in gone:
                task.cancel()
            await asyncio.sleep(0)
        workers.may_answer.set()
        assert all(
            isinstance(end, asyncio.CancelledError)
            for end in await asyncio.gather(*gone, return_exceptions=True)
        )
        await settled()
        assert not policies.changing
        assert policies.used == 0
        assert len(workers.held) == len(policies) <= IDLE_KEPT

    asyncio.run(run())


def test_a_client_that_leaves_does_not_keep_others_from_the_policy() -> None:
    async def run() -> None:
        workers = Workers()
        policies = WorkerPolicies(workers.call)
        workers.may_answer.clear()
        gone = asyncio.create_task(use(policies, 0))
        await settled()
        gone.cancel()
        stays = asyncio.create_task(use(policies, 0))
        await settled()
        workers.may_answer.set()
        assert await stays in workers.held
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert workers.puts == 1

    asyncio.run(run())


def test_a_policy_that_could_not_be_put_is_tried_again() -> None:
    failing = True

    async def call(method: str, arguments: tuple[Any, ...]) -> None:
        if failing:
            raise RuntimeError("the workers have no encoder")

    async def run() -> None:
        nonlocal failing
        policies = WorkerPolicies(call)
        with pytest.raises(RuntimeError, match="no encoder"):
            await use(policies, 0)
        assert (policies.used, len(policies)) == (0, 0)
        failing = False
        await use(policies, 0)
        assert len(policies) == 1

    asyncio.run(run())
