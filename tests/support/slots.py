"""A loader that plays the engine's slots, and what its tests share."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from server.residency.residency import Residency


class Slots:
    """A loader that holds what it was told to hold, and objects when its slots overflow."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held: set[str] = set()
        self.log: list[str] = []
        self.waiting: list[int] = []
        self.broken: set[str] = set()
        self.busy = 0

    async def load(self, digest: str, waiting: int) -> None:
        self.waiting.append(waiting)
        self.busy += 1
        assert self.busy == 1, "two loads at once"
        await asyncio.sleep(0.001)
        self.busy -= 1
        if digest in self.broken:
            raise RuntimeError(f"cannot load {digest}")
        self.held.add(digest)
        assert len(self.held) <= self.capacity, "no free slot"
        self.log.append(f"+{digest}")

    async def unload(self, digest: str) -> None:
        await asyncio.sleep(0.001)
        self.held.remove(digest)
        self.log.append(f"-{digest}")


@asynccontextmanager
async def leased(residency: Residency, digests: Iterable[str]) -> AsyncIterator[None]:
    """Hold adapters in their slots for the length of the block."""
    await residency.acquire(digests)
    try:
        yield
    finally:
        residency.release(digests)


def run(coroutine) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 20))


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - it watches from outside, as a client would
            await asyncio.sleep(0.001)
