"""Which policies the workers hold for requests whose weights follow their answer."""

import asyncio
import hashlib
import json
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from router.reweighing import Reweighing
from server.engine.messages import PutPolicy

IDLE_KEPT: Final = 32
"""Policies that stay in the workers though no request uses them, for the next one."""

Call = Callable[[str, tuple[Any, ...]], Awaitable[Any]]


def policy_key(reweighing: Reweighing, ids: Mapping[str, int]) -> str:
    """The name of a policy in the workers: a digest of all that its weights depend on."""
    wire = reweighing.to_wire()
    content = json.dumps(
        [wire, sorted(ids.items())], sort_keys=True, default=lambda raw: bytes(raw).hex()
    )
    return hashlib.sha256(content.encode()).hexdigest()


class WorkerPolicies:
    """Puts policies into the workers and takes them out again. For one event loop.

    Args:
        call: calls a method of every worker.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._there: OrderedDict[str, None] = OrderedDict()
        self._used: Counter[str] = Counter()
        self._changing = asyncio.Lock()
        self._changes: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._there)

    @property
    def used(self) -> int:
        """Requests that use a policy now."""
        return self._used.total()

    @property
    def changing(self) -> bool:
        """Whether a policy is on its way in or out."""
        return bool(self._changes)

    @asynccontextmanager
    async def holding(self, reweighing: Reweighing, ids: Mapping[str, int]) -> AsyncIterator[str]:
        """The policy's key; the workers hold it while the context lasts.

        Args:
            reweighing: the policy.
            ids: digest → adapter id of its adapters, resident meanwhile.
        """
        key = policy_key(reweighing, ids)
        self._used[key] += 1
        try:
            await self._to_its_end(self._put(key, reweighing, ids))
            yield key
        finally:
            self._used[key] -= 1
            if not self._used[key]:
                del self._used[key]
            await self._to_its_end(self._trim())

    async def _to_its_end(self, change: Coroutine[Any, Any, None]) -> None:
        """Await a change that goes on when whoever awaits it is cancelled.

        A call that has been sent takes effect in the workers; were its end not noted here, a
        client that leaves meanwhile would leave its policy there for good.
        """
        task = asyncio.create_task(change)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        await asyncio.shield(task)

    async def _put(self, key: str, reweighing: Reweighing, ids: Mapping[str, int]) -> None:
        async with self._changing:
            if key not in self._there:
                message = PutPolicy(key, reweighing.to_wire(), dict(ids))
                await self._call("loralloy_put_policy", (message.to_wire(),))
                self._there[key] = None
            self._there.move_to_end(key)

    async def _trim(self) -> None:
        async with self._changing:
            idle = [key for key in self._there if key not in self._used]
            for key in idle[: max(0, len(idle) - IDLE_KEPT)]:
                del self._there[key]
                await self._call("loralloy_drop_policy", (key,))
