"""Brings contents to this machine before the engine loads them."""

import asyncio
from pathlib import Path
from typing import Protocol

from adapters.errors import MissingFile, StorageFailed
from adapters.store import AdapterStore


class SlotLoader(Protocol):
    """What residency needs: a content into a slot, by its digest alone."""

    async def load(self, digest: str, waiting: int) -> None:
        """Put an adapter into a free slot; the more requests wait, the less others are spared."""

    async def unload(self, digest: str) -> None:
        """Free an adapter's slot."""


class FolderLoader(Protocol):
    """What an engine can do: a content into a slot, out of a folder of this machine."""

    async def load(self, digest: str, folder: Path, waiting: int) -> None:
        """Put an adapter into a free slot; the more requests wait, the less others are spared."""

    async def unload(self, digest: str) -> None:
        """Free an adapter's slot."""


class Fetching:
    """A :class:`SlotLoader` over a store: fetched in a thread, and held while it is loaded.

    Args:
        loader: the engine.
        store: where contents are.
    """

    def __init__(self, loader: FolderLoader, store: AdapterStore) -> None:
        self._loader = loader
        self._store = store

    async def load(self, digest: str, waiting: int) -> None:
        """Put an adapter into a free slot.

        Raises:
            StorageFailed: it cannot be fetched, has gone or is damaged.
            EngineError: the engine refused it.
        """
        held = self._store.held(digest)
        try:
            here = await asyncio.to_thread(held.__enter__)
        except MissingFile as error:  # no fault of the request that needs it
            raise StorageFailed(f"could not load an adapter: {error}") from error
        try:
            await self._loader.load(digest, here, waiting)
        finally:
            await asyncio.to_thread(held.__exit__, None, None, None)

    async def unload(self, digest: str) -> None:
        """Free an adapter's slot."""
        await self._loader.unload(digest)
