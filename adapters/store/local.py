"""Blobs in a folder of this machine.

    <root>/blobs/<digest>/adapter_config.json, adapter_model.safetensors
    <root>/staging/…     half-written ones; emptied at start
    <root>/damaged/…     blobs that were set apart
    <root>/owner         key of the registry that the blobs belong to

A blob is written in staging, flushed, then renamed: it is whole or it is not there. It never
changes afterwards, so whoever holds its digest or path may rely on its content.
"""

import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from adapters.errors import MissingFile
from adapters.files import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    passing_folder,
    storage_errors,
    sync_folder,
    write_atomically,
)
from adapters.store.blob_store import check_owner, is_digest
from adapters.store.canonical import digest_of, write_canonical
from adapters.validation.validate import AdapterFacts


class LocalStore:
    """An ``AdapterStore`` under a root folder, which one process at a time may own.

    Args:
        root: made if absent.
        tidy: empty the staging folder.
    """

    def __init__(self, root: Path, *, tidy: bool = True) -> None:
        self._root = root.resolve()
        self._blobs = self._root / "blobs"
        self._staging = self._root / "staging"
        with storage_errors("open the adapter store"):
            if tidy:
                shutil.rmtree(self._staging, ignore_errors=True)
            self._blobs.mkdir(parents=True, exist_ok=True)
            self._staging.mkdir(parents=True, exist_ok=True)

    def claim(self, key: str) -> None:
        """Bind the store to a registry."""
        owner = self._root / "owner"
        with storage_errors("open the adapter store"):
            if owner.exists():
                check_owner(owner.read_text("utf-8"), key)
            else:
                write_atomically(owner, key.encode())

    def staging(self) -> AbstractContextManager[Path]:
        """A new empty folder on the store's file system, gone when the block is left."""
        return passing_folder(self._staging)

    def put(self, folder: Path, facts: AdapterFacts) -> tuple[str, bool]:
        """Keep the validated adapter in a folder.

        Returns:
            Its digest, and whether the content is new. Content that is already kept is left
            alone, unless it was damaged from outside.

        Raises:
            StorageFailed: the file system refused; nothing is left behind.
        """
        with self.staging() as stage:
            with storage_errors("write an adapter"):
                digest = write_canonical(folder, facts, stage)
                sync_folder(stage)
            with storage_errors("keep an adapter"):
                is_new = self._publish(stage, digest)
        return digest, is_new

    def path(self, digest: str) -> Path:
        """The absolute folder of a blob, whether it exists or not."""
        return self._blobs / digest

    @contextmanager
    def held(self, digest: str) -> Iterator[Path]:
        """The folder of a blob.

        Raises:
            MissingFile: it is not there.
        """
        if not self.has(digest):
            raise MissingFile(f"the stored content {digest[:12]} is gone; upload it again")
        yield self.path(digest)

    def has(self, digest: str) -> bool:
        """Whether both files of a blob are there."""
        blob = self.path(digest)
        return all((blob / name).is_file() for name in (CONFIG_FILE, WEIGHTS_FILE))

    def is_intact(self, digest: str) -> bool:
        """Whether a blob still hashes to its digest; reads all of it."""
        with storage_errors("read an adapter"):
            return self.has(digest) and digest_of(self.path(digest)) == digest

    def size_bytes(self, digest: str) -> int | None:
        """Bytes of both files of a blob; None if one is not there."""
        if not self.has(digest):
            return None
        blob = self.path(digest)
        return sum((blob / name).stat().st_size for name in (CONFIG_FILE, WEIGHTS_FILE))

    def sizes(self) -> Mapping[str, int]:
        """Bytes of every blob, by digest."""
        found = ((digest, self.size_bytes(digest)) for digest in self.digests())
        return {digest: size for digest, size in found if size is not None}

    def digests(self) -> list[str]:
        """All blobs, sorted."""
        return sorted(entry.name for entry in self._blobs.iterdir() if entry.is_dir())

    def remove(self, digest: str) -> None:
        """Throw a blob away. A crash half-way leaves it in staging, never half a blob."""
        blob = self.path(digest)
        if not blob.exists():
            return
        with storage_errors("remove an adapter"), self.staging() as bin_folder:
            blob.rename(bin_folder / digest)
            sync_folder(self._blobs)

    def remove_all_except(self, kept: Collection[str]) -> list[str]:
        """Throw away every blob whose digest is not given; return what went."""
        gone = [digest for digest in self.digests() if digest not in kept]
        for digest in gone:
            self.remove(digest)
        return gone

    def leftovers(self) -> list[str]:
        """Folders in staging, and what lies among the blobs and is none."""
        staged = [f"staging/{entry.name}" for entry in self._staging.iterdir()]
        strays = [f"blobs/{entry.name}" for entry in self._strays()]
        return sorted(staged + strays)

    def clear_leftovers(self) -> None:
        """Throw these away."""
        with storage_errors("tidy the adapter store"):
            for entry in [*self._staging.iterdir(), *self._strays()]:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def mend(self, digest: str) -> bool:
        """There is no second copy."""
        del digest
        return False

    def set_apart(self, digest: str) -> None:
        """Move a damaged blob into its own folder."""
        blob = self.path(digest)
        if not blob.exists():
            return
        with storage_errors("set an adapter apart"):
            damaged = self._root / "damaged"
            damaged.mkdir(exist_ok=True)
            blob.rename(damaged / f"{digest}.{uuid.uuid4().hex[:8]}")
            sync_folder(damaged)
            sync_folder(self._blobs)

    def _strays(self) -> list[Path]:
        return [entry for entry in self._blobs.iterdir() if not is_digest(entry.name)]

    def _publish(self, stage: Path, digest: str) -> bool:
        if self.is_intact(digest):
            return False
        self.remove(digest)
        stage.rename(self.path(digest))
        sync_folder(self._blobs)
        return True
