"""Removals: begun once, kept in the database, and carried on until they have ended.

    serving → removing → gone

A name that is being removed takes no new requests and no new content, and shows as such in lists.
Nothing brings it back: what stands in the way (a long answer, a database that refuses) is waited
for, over a restart too.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Final

from adapters.adapter import Adapter
from adapters.errors import AdapterNotFound, StorageFailed
from adapters.registry.registry import AdapterRegistry
from server.engine.errors import EngineError
from server.residency.residency import Residency

logger = logging.getLogger(__name__)

RETRY_S: Final = 5.0
"""Until a removal that the database, the store or the engine has refused is tried again."""


@dataclass(frozen=True, slots=True, eq=False)
class Removal:
    """A removal that has begun.

    Attributes:
        adapter: what is being removed.
        task: ends with it.
    """

    adapter: Adapter
    task: asyncio.Task[None]

    async def ended_within(self, seconds: float) -> bool:
        """Wait for its end; False where it takes longer, and goes on."""
        await asyncio.wait({self.task}, timeout=seconds)
        return self.task.done()


class AdapterRemovals:
    """The removals of one server. One event loop only.

    Args:
        registry: where names are kept.
        residency: who uses an adapter, and in which slot.
        changing: held while names change.
        changed: called when a name has begun to go.
        gone: called when a name has gone.
    """

    def __init__(
        self,
        registry: AdapterRegistry,
        residency: Residency,
        changing: asyncio.Lock,
        changed: Callable[[], None],
        gone: Callable[[str], None],
    ) -> None:
        self._registry = registry
        self._residency = residency
        self._changing = changing
        self._changed = changed
        self._gone = gone
        self._running: dict[str, Removal] = {}

    async def begin(self, name: str) -> Removal:
        """Begin to remove an adapter, or give the removal that goes on already.

        Raises:
            AdapterNotFound: there is none of that name.
            StorageFailed: the database refused; nothing has changed.
        """
        async with self._changing:
            if name in self._running:
                return self._running[name]
            adapter = await asyncio.to_thread(self._registry.begin_removal, name)
            removal = Removal(adapter, asyncio.create_task(self._take_out(name)))
            self._running[name] = removal
            self._changed()
            return removal

    async def resume(self) -> None:
        """Go on with what had begun when the server ended."""
        for adapter in self._registry.being_removed():
            logger.info("the removal of adapter %s goes on", adapter.name)
            await self.begin(adapter.name)

    async def close(self) -> None:
        """Let go of what goes on; the next start takes it up."""
        tasks = [removal.task for removal in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take_out(self, name: str) -> None:
        gone = await self._has_gone(name)
        while not gone:
            await asyncio.sleep(RETRY_S)
            gone = await self._has_gone(name)

    async def _has_gone(self, name: str) -> bool:
        """Drain an adapter and drop its record; False if something refused."""
        try:
            async with AsyncExitStack() as drained:
                for digest in await asyncio.to_thread(self._registry.only_of, name):
                    await drained.enter_async_context(self._residency.removing(digest))
                async with self._changing:
                    with suppress(AdapterNotFound):  # another server was quicker
                        await asyncio.to_thread(self._registry.remove, name, keep_blob=False)
                    self._running.pop(name, None)
                    self._gone(name)
        except (StorageFailed, EngineError) as error:
            logger.warning("adapter %s is not removed yet: %s", name, error)
            return False
        return True
