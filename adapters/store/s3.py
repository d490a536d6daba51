"""Blobs in an object store, through fsspec.

    <prefix>/blobs/<digest>/adapter_model.safetensors, adapter_config.json, manifest.json
    <prefix>/owner       key of the registry that the blobs belong to
    <prefix>/damaged/…   blobs that were set apart
    <root>/cache/…       copies on this machine (see ``adapters.store.cache``)
    <root>/staging/…     half-written ones; emptied at start

An object store has no rename, but each object is whole or not there. So the manifest is written
last and removed first: a blob without it is not there, whatever else lies under its digest.
Uploading the same content again writes the same objects, which also mends them.
"""

import json
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.errors import MissingFile
from adapters.files import CONFIG_FILE, WEIGHTS_FILE, passing_folder, storage_errors
from adapters.store.blob_store import check_owner, is_digest
from adapters.store.cache import BlobCache
from adapters.store.canonical import digest_of, write_canonical
from adapters.store.s3_errors import object_errors
from adapters.validation.validate import AdapterFacts

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MANIFEST_FILE = "manifest.json"
_FILES = (WEIGHTS_FILE, CONFIG_FILE)


class RemoteStore:
    """An ``AdapterStore`` in an object store; several servers with one database may share it.

    Args:
        filesystem: fsspec's, synchronous.
        prefix: bucket and path of all objects, without a slash at the end.
        root: folder of this machine for staging and the cache, made if absent.
        cache_bytes: how much the copies on this machine may take.
        tidy: empty the staging folder.
    """

    def __init__(
        self,
        filesystem: "AbstractFileSystem",
        prefix: str,
        root: Path,
        cache_bytes: int,
        *,
        tidy: bool = True,
    ) -> None:
        self._files = filesystem
        self._prefix = prefix
        self._blobs = f"{prefix}/blobs"
        self._staging = root.resolve() / "staging"
        with storage_errors("open the adapter store"):
            if tidy:
                shutil.rmtree(self._staging, ignore_errors=True)
            self._staging.mkdir(parents=True, exist_ok=True)
        self._cache = BlobCache(root.resolve() / "cache", cache_bytes, self.staging)

    def claim(self, key: str) -> None:
        """Bind the store to a registry; of two that try at once one gets it."""
        owner = f"{self._prefix}/owner"
        with object_errors("open the adapter store"):
            with suppress(FileExistsError):
                if not self._files.exists(owner):
                    self._files.pipe_file(owner, key.encode(), mode="create")
            found = self._files.cat_file(owner)
        check_owner(found.decode(errors="replace"), key)

    def staging(self) -> AbstractContextManager[Path]:
        """A new empty folder on this machine, gone when the block is left."""
        return passing_folder(self._staging)

    def put(self, folder: Path, facts: AdapterFacts) -> tuple[str, bool]:
        """Keep the validated adapter in a folder, and a copy of it on this machine.

        Raises:
            StorageFailed: a disk or the object store refused; at worst objects without a manifest
                are left behind.
        """
        with self.staging() as stage:
            with storage_errors("write an adapter"):
                digest = write_canonical(folder, facts, stage)
            is_new = not self.has(digest)
            self._upload(stage, digest)
            self._cache.take(digest, stage)
        return digest, is_new

    def path(self, digest: str) -> Path:
        """The absolute folder of the copy on this machine, whether there is one or not."""
        return self._cache.path(digest)

    @contextmanager
    def held(self, digest: str) -> Iterator[Path]:
        """The folder of a copy, fetched and checked if need be.

        Raises:
            MissingFile: the blob is not there, or is damaged.
            StorageFailed: it cannot be fetched.
        """
        with self._cache.held(digest, lambda stage: self._download(digest, stage)) as folder:
            yield folder

    def has(self, digest: str) -> bool:
        """Whether a blob is there with its manifest and both files."""
        return self.size_bytes(digest) is not None

    def is_intact(self, digest: str) -> bool:
        """Whether what the object store holds still hashes to the digest; fetches all of it."""
        if not self.has(digest):
            return False
        with self.staging() as stage:
            self._download(digest, stage)
            with storage_errors("read an adapter"):
                return digest_of(stage) == digest

    def size_bytes(self, digest: str) -> int | None:
        """Bytes of both files of a blob; None if it is not there."""
        return self._sizes(f"{self._blobs}/{digest}").get(digest)

    def sizes(self) -> Mapping[str, int]:
        """Bytes of every blob, by digest; one request for some hundred of them."""
        return self._sizes(self._blobs)

    def digests(self) -> list[str]:
        """All blobs, sorted."""
        return sorted(self.sizes())

    def remove(self, digest: str) -> None:
        """Throw a blob away, the manifest first."""
        with object_errors("remove an adapter"):
            for name in (MANIFEST_FILE, *_FILES):
                with suppress(FileNotFoundError):
                    self._files.rm_file(f"{self._blobs}/{digest}/{name}")
        self._cache.forget(digest)

    def remove_all_except(self, kept: Collection[str]) -> list[str]:
        """Throw away every blob whose digest is not given, also what there is of half ones."""
        found = self._listing(self._blobs)
        gone = sorted({_digest(path) for path in found} - set(kept))
        for digest in gone:
            self.remove(digest)
        for digest in self._cache.digests():
            if digest not in kept:
                self._cache.forget(digest)
        return gone

    def leftovers(self) -> list[str]:
        """Objects without a manifest, folders in staging, damaged copies on this machine."""
        copies = [d for d in self._cache.digests() if not self._cache.is_intact(d)]
        staged = [f"staging/{entry.name}" for entry in self._staging.iterdir()]
        return sorted([*staged, *(f"cache/{digest}" for digest in copies), *self._half()])

    def clear_leftovers(self) -> None:
        """Throw these away."""
        for digest in self._cache.digests():
            if not self._cache.is_intact(digest):
                self._cache.drop(digest)
        with storage_errors("tidy the adapter store"):
            for entry in self._staging.iterdir():
                shutil.rmtree(entry)
        with object_errors("tidy the adapter store"):
            for name in self._half():
                self._files.rm_file(f"{self._prefix}/{name}")

    def mend(self, digest: str) -> bool:
        """Upload the copy of this machine again, if it is good."""
        if digest not in self._cache.digests() or not self._cache.is_intact(digest):
            return False
        self._upload(self._cache.path(digest), digest)
        return True

    def set_apart(self, digest: str) -> None:
        """Copy what there is of a blob elsewhere in the object store, then remove it."""
        apart = f"{self._prefix}/damaged/{digest}.{uuid.uuid4().hex[:8]}"
        with object_errors("set an adapter apart"):
            for path in self._listing(f"{self._blobs}/{digest}"):
                self._files.cp_file(path, f"{apart}/{Path(path).name}")
        self.remove(digest)

    def _upload(self, folder: Path, digest: str) -> None:
        sizes = {name: (folder / name).stat().st_size for name in _FILES}
        with object_errors("store an adapter"):
            for name in _FILES:
                self._files.put_file(str(folder / name), f"{self._blobs}/{digest}/{name}")
            manifest = json.dumps({"digest": digest, "bytes": sizes}).encode()
            self._files.pipe_file(f"{self._blobs}/{digest}/{MANIFEST_FILE}", manifest)

    def _download(self, digest: str, stage: Path) -> None:
        if not self.has(digest):
            raise MissingFile(f"the stored content {digest[:12]} is gone; upload it again")
        with object_errors("fetch an adapter"):
            for name in _FILES:
                self._files.get_file(f"{self._blobs}/{digest}/{name}", str(stage / name))
                (stage / name).chmod(0o444)

    def _listing(self, folder: str) -> dict[str, int]:
        """Bytes of every object under a folder, by path."""
        with object_errors("look into the adapter store"):
            found: dict[str, dict[str, Any]] = self._files.find(folder, detail=True)
        return {path: int(entry["size"]) for path, entry in found.items()}

    def _sizes(self, folder: str) -> dict[str, int]:
        parts: dict[str, dict[str, int]] = {}
        for path, size in self._listing(folder).items():
            parts.setdefault(_digest(path), {})[Path(path).name] = size
        return {
            digest: sum(sizes[name] for name in _FILES)
            for digest, sizes in parts.items()
            if is_digest(digest) and sizes.keys() >= {MANIFEST_FILE, *_FILES}
        }

    def _half(self) -> list[str]:
        """Objects that belong to no whole blob, under the prefix."""
        found = self._listing(self._blobs)
        whole = self._sizes(self._blobs)
        strays = (path for path in found if _digest(path) not in whole)
        return [path.removeprefix(f"{self._prefix}/") for path in strays]


def _digest(path: str) -> str:
    """The folder that an object lies in."""
    return Path(path).parent.name
