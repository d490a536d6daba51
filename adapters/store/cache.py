"""Copies of remote blobs on this machine: bounded, checked, and never taken from who uses them.

<root>/<digest>/…    copies; the folder's time is that of its last use
"""

import os
import shutil
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from adapters.errors import MissingFile
from adapters.files import storage_errors
from adapters.store.blob_store import is_digest
from adapters.store.canonical import digest_of

Staging = Callable[[], AbstractContextManager[Path]]
"""A new empty folder on the same file system."""

Fetch = Callable[[Path], None]
"""Puts a blob's files into an empty folder."""


class BlobCache:
    """Safe to use from several threads.

    Args:
        root: the folder of copies, made if absent.
        max_bytes: how much they may take; what is in use stays in any case.
        staging: where copies are made before they are moved in.
    """

    def __init__(self, root: Path, max_bytes: int, staging: Staging) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._staging = staging
        self._lock = threading.RLock()
        self._filling: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._holders: Counter[str] = Counter()
        self._checked: set[str] = set()
        with storage_errors("open the cache of adapters"):
            root.mkdir(parents=True, exist_ok=True)
            self._sizes = _found(root)

    def path(self, digest: str) -> Path:
        """The folder of a copy, whether there is one or not."""
        return self._root / digest

    def digests(self) -> list[str]:
        """Copies, the least recently used first."""
        with self._lock:
            return list(self._sizes)

    @contextmanager
    def held(self, digest: str, fetch: Fetch) -> Iterator[Path]:
        """A copy's folder; it is fetched if need be, and stays for the length of the block.

        Raises:
            MissingFile: what was fetched is not what the digest stands for.
            StorageFailed: it cannot be fetched or kept.
        """
        with self._lock:
            self._holders[digest] += 1
            filling = self._filling[digest]
        try:
            with filling:
                if not self.is_good(digest):
                    self._fill(digest, fetch)
            yield self.path(digest)
        finally:
            with self._lock:
                self._holders[digest] -= 1
                if not self._holders[digest]:
                    del self._holders[digest]
                self._make_room()

    def is_good(self, digest: str) -> bool:
        """Whether there is a copy that hashes to its digest; each is checked once a start."""
        with self._lock:
            if digest not in self._sizes:
                return False
            if digest not in self._checked and not self.is_intact(digest):
                self.drop(digest)
                return False
            self._checked.add(digest)
            self._sizes.move_to_end(digest)
            os.utime(self.path(digest))
            return True

    def is_intact(self, digest: str) -> bool:
        """Whether a copy hashes to its digest now."""
        try:
            return digest_of(self.path(digest)) == digest
        except OSError:
            return False

    def take(self, digest: str, folder: Path) -> None:
        """Move a blob's folder, which hashes to its digest, into the cache."""
        with self._lock, storage_errors("keep a copy of an adapter"):
            if not self.is_good(digest):
                self.drop(digest)
                folder.rename(self.path(digest))
                self._sizes[digest] = _bytes(self.path(digest))
                self._checked.add(digest)
            self._make_room()

    def drop(self, digest: str) -> None:
        """Throw a copy away."""
        with self._lock, storage_errors("drop a copy of an adapter"), self._staging() as bin_folder:
            self._sizes.pop(digest, None)
            self._checked.discard(digest)
            if self.path(digest).exists():
                self.path(digest).rename(bin_folder / digest)

    def forget(self, digest: str) -> None:
        """Throw a copy away unless somebody uses it."""
        with self._lock:
            if not self._holders[digest]:
                self.drop(digest)

    def _fill(self, digest: str, fetch: Fetch) -> None:
        with self._staging() as stage:
            fetch(stage)
            with storage_errors("check an adapter"):
                found = digest_of(stage)
            if found != digest:
                raise MissingFile(f"the stored content {digest[:12]} is damaged; upload it again")
            self.take(digest, stage)

    def _make_room(self) -> None:
        """Drop copies that nobody uses until the rest fits."""
        for digest in list(self._sizes):
            if sum(self._sizes.values()) <= self._max_bytes:
                return
            if not self._holders[digest]:
                self.drop(digest)


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _found(root: Path) -> OrderedDict[str, int]:
    """Bytes of the copies that an earlier start has left, the least recently used first."""
    found = [entry for entry in root.iterdir() if is_digest(entry.name) and entry.is_dir()]
    found.sort(key=lambda entry: entry.stat().st_mtime)
    for entry in root.iterdir():
        if entry not in found:
            shutil.rmtree(entry, ignore_errors=True)
    return OrderedDict((entry.name, _bytes(entry)) for entry in found)
