"""Content-addressed, immutable keeping of adapters.

    <root>/blobs/<digest>/adapter_config.json, adapter_model.safetensors
    <root>/staging/…     half-written ones; emptied at start

A blob is written in staging, flushed, then renamed: it is whole or it is not there. It never
changes afterwards, so whoever holds its digest or path may rely on its content.
"""

import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.canonical import digest_of, write_canonical
from adapters.files import CONFIG_FILE, WEIGHTS_FILE, storage_errors, sync_folder
from adapters.validation import AdapterFacts


class AdapterStore:
    """Blobs under a root folder, which one process at a time may own."""

    def __init__(self, root: Path) -> None:
        self._blobs = root.resolve() / "blobs"
        self._staging = root.resolve() / "staging"
        with storage_errors("open the adapter store"):
            shutil.rmtree(self._staging, ignore_errors=True)
            self._blobs.mkdir(parents=True, exist_ok=True)
            self._staging.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A new empty folder on the store's file system, gone when the block is left."""
        folder = self._staging / uuid.uuid4().hex
        with storage_errors("make room for an adapter"):
            folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

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

    def has(self, digest: str) -> bool:
        """Whether both files of a blob are there."""
        blob = self.path(digest)
        return all((blob / name).is_file() for name in (CONFIG_FILE, WEIGHTS_FILE))

    def is_intact(self, digest: str) -> bool:
        """Whether a blob still hashes to its digest; reads all of it."""
        return self.has(digest) and digest_of(self.path(digest)) == digest

    def size_bytes(self, digest: str) -> int:
        """Bytes of both files of a blob."""
        blob = self.path(digest)
        return sum((blob / name).stat().st_size for name in (CONFIG_FILE, WEIGHTS_FILE))

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

    def _publish(self, stage: Path, digest: str) -> bool:
        if self.is_intact(digest):
            return False
        self.remove(digest)
        stage.rename(self.path(digest))
        sync_folder(self._blobs)
        return True
