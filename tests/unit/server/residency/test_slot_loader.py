"""Contents are on this machine while the engine loads them, and no longer held."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.errors import StorageFailed
from adapters.files import CONFIG_FILE, WEIGHTS_FILE
from adapters.store.local import LocalStore
from server.residency.slot_loader import Fetching

DIGEST = "ab" * 32


class Watched(LocalStore):
    """A store that writes down what it holds for others."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.held_now: list[str] = []

    @contextmanager
    def held(self, digest: str) -> Iterator[Path]:
        with super().held(digest) as folder:
            self.held_now.append(digest)
            try:
                yield folder
            finally:
                self.held_now.remove(digest)


class Engine:
    """What an engine is told, and what the store holds for it then."""

    def __init__(self, store: Watched) -> None:
        self.store = store
        self.told: list[tuple[object, ...]] = []

    async def load(self, digest: str, folder: Path, waiting: int) -> None:
        self.told.append((digest, folder, waiting, list(self.store.held_now)))
        if waiting > 9:
            raise RuntimeError("refused")

    async def unload(self, digest: str) -> None:
        self.told.append((digest,))


@pytest.fixture
def store(tmp_path: Path) -> Watched:
    store = Watched(tmp_path)
    store.path(DIGEST).mkdir(parents=True)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (store.path(DIGEST) / name).write_bytes(b"x")
    return store


def test_a_content_is_held_while_it_is_loaded(store: Watched) -> None:
    engine = Engine(store)
    asyncio.run(Fetching(engine, store).load(DIGEST, 3))
    assert engine.told == [(DIGEST, store.path(DIGEST), 3, [DIGEST])]
    assert store.held_now == []


def test_a_content_that_the_engine_refuses_is_let_go(store: Watched) -> None:
    with pytest.raises(RuntimeError, match="refused"):
        asyncio.run(Fetching(Engine(store), store).load(DIGEST, 10))
    assert store.held_now == []


def test_a_content_that_has_gone_is_no_fault_of_who_needs_it(store: Watched) -> None:
    store.remove(DIGEST)
    engine = Engine(store)
    with pytest.raises(StorageFailed, match=r"^could not load an adapter: the stored content abab"):
        asyncio.run(Fetching(engine, store).load(DIGEST, 1))
    assert engine.told == []


def test_a_slot_is_freed_by_the_engine(store: Watched) -> None:
    engine = Engine(store)
    asyncio.run(Fetching(engine, store).unload(DIGEST))
    assert engine.told == [(DIGEST,)]
