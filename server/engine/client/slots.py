"""The engine's adapter slots, as the server fills and empties them.

An adapter goes in in two parts: every worker reads and packs its file bit by bit, with steps in
between (``server.engine.worker.staging``); then, between two steps, what was read is copied into a
slot.
"""

import asyncio
import itertools
from pathlib import Path
from typing import Any

from adapters.format.peft_format import module_scalings, read_config
from server.engine.client.usage import Usage
from server.engine.errors import EngineFull, EngineLoadError
from server.engine.messages import LoadAdapter

PART_S = 0.012
"""About how long a part of a load takes."""


class Slots:
    """Adapters in slots, by digest. For one event loop.

    Args:
        client: vLLM's engine client.
        capacity: slots of the engine.
        usage: which adapters running requests use.

    Attributes:
        ids: digest → vLLM's id of the adapter, for those in slots.
    """

    def __init__(self, client: Any, capacity: int, usage: Usage) -> None:
        self.ids: dict[str, int] = {}
        self._client = client
        self._capacity = capacity
        self._usage = usage
        self._next_id = itertools.count(1)
        self._moving = asyncio.Lock()

    async def load(self, digest: str, folder: Path, waiting: int = 1) -> None:
        """Put an adapter into a free slot.

        Running requests pause for PART_S between two steps, for each request that waits; or for the
        copy into the slot.

        Args:
            digest: the adapter's digest.
            folder: its validated, immutable folder, absolute.
            waiting: requests that wait for it, or for what comes after it.

        Raises:
            EngineFull: no slot is free.
            EngineLoadError: vLLM refused it; the slots are as before.
        """
        async with self._moving:
            if digest in self.ids:
                return
            if len(self.ids) >= self._capacity:
                raise EngineFull(f"all {self._capacity} slots are taken")
            adapter_id = next(self._next_id)
            part = LoadAdapter(
                adapter_id=adapter_id,
                digest=digest,
                folder=str(folder),
                rank=read_config(folder).max_rank,
                scaling=max(module_scalings(folder).values()),
                seconds=PART_S * max(1, waiting),
            )
            try:
                while not all(await self._call("loralloy_load", part.to_wire())):
                    pass  # between two calls there is a step, if anything runs
            except BaseException as error:
                # vLLM raises plain Exception for a failed call, and leaves a half-written slot
                # behind: take it out again. So must whoever is cancelled half-way.
                await self._call("loralloy_unload", adapter_id)
                if not isinstance(error, Exception):
                    raise
                raise EngineLoadError(f"the engine refused adapter {digest[:12]}") from error
            self.ids[digest] = adapter_id

    async def unload(self, digest: str) -> None:
        """Free an adapter's slot once no running request uses it; nothing happens if it has none.

        New requests must not name it any more: the server's leases see to that.
        """
        await self._usage.ended(digest)
        async with self._moving:
            adapter_id = self.ids.pop(digest, None)
            if adapter_id is not None:
                await self._call("loralloy_unload", adapter_id)

    async def _call(self, method: str, *arguments: Any) -> Any:
        return await self._client.collective_rpc(method, args=arguments)
