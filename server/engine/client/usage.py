"""Which adapters the running requests use, so that no slot is freed under one of them."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Usage:
    """Counts running requests by adapter. For one event loop."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._changed = asyncio.Event()

    @contextmanager
    def holding(self, digests: Iterable[str]) -> Iterator[None]:
        """Count ``digests`` as used while the context lasts."""
        held = list(digests)
        self._running.update(held)
        try:
            yield
        finally:
            self._running.subtract(held)
            self._changed.set()

    @property
    def total(self) -> int:
        """Uses by running requests, one for each adapter of each."""
        return self._running.total()

    def of(self, digest: str) -> int:
        """How many running requests use an adapter."""
        return self._running[digest]

    async def ended(self, digest: str) -> None:
        """Wait until no running request uses an adapter."""
        while self._running[digest] > 0:
            self._changed.clear()
            await self._changed.wait()
        del self._running[digest]
