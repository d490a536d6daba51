"""What a store of contents can do, wherever they lie."""

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from adapters.errors import StorageFailed
from adapters.validation.validate import AdapterFacts

DIGEST_CHARACTERS = 64


class AdapterStore(Protocol):
    """Content-addressed and immutable: a blob is whole or it is not there.

    Every method may read or write a disk or a network, and raises ``StorageFailed`` where that
    refuses.
    """

    def claim(self, key: str) -> None:
        """Bind the store to a registry, by its key: a registry throws away what it does not know.

        Raises:
            StorageFailed: it is another registry's.
        """

    def staging(self) -> AbstractContextManager[Path]:
        """A new empty folder on the store's file system, gone when the block is left."""

    def put(self, folder: Path, facts: AdapterFacts) -> tuple[str, bool]:
        """Keep the validated adapter in a folder.

        Returns:
            Its digest, and whether the content is new. Content that was damaged from outside is
            mended.
        """

    def path(self, digest: str) -> Path:
        """The absolute folder on this machine where a blob lies while it is held."""

    def held(self, digest: str) -> AbstractContextManager[Path]:
        """The folder of a blob, whole and on this machine for the length of the block."""

    def has(self, digest: str) -> bool:
        """Whether a blob is there with all its parts."""

    def is_intact(self, digest: str) -> bool:
        """Whether a blob still hashes to its digest; reads all of it."""

    def size_bytes(self, digest: str) -> int | None:
        """Bytes of both files of a blob; None if it is not there."""

    def sizes(self) -> Mapping[str, int]:
        """Bytes of every blob that is there, by digest."""

    def digests(self) -> list[str]:
        """All blobs, sorted."""

    def remove(self, digest: str) -> None:
        """Throw a blob away; nothing happens if it is not there."""

    def remove_all_except(self, kept: Collection[str]) -> list[str]:
        """Throw away every blob whose digest is not given; return what went."""

    def leftovers(self) -> list[str]:
        """What uploads and removals that were cut off have left, and damaged local copies."""

    def clear_leftovers(self) -> None:
        """Throw these away. Nobody may be writing."""

    def mend(self, digest: str) -> bool:
        """Make a damaged or missing blob whole again, if a good copy is at hand; say whether."""

    def set_apart(self, digest: str) -> None:
        """Put a damaged blob where nothing reads it; what is left of it is kept."""


def is_digest(name: str) -> bool:
    """Whether a name is one that a blob can have."""
    return len(name) == DIGEST_CHARACTERS and not set(name) - set("0123456789abcdef")


def check_owner(owner: str, key: str) -> None:
    """Let the registry pass that a store belongs to.

    Raises:
        StorageFailed: it is another one.
    """
    if owner.strip() != key:
        raise StorageFailed(
            "the contents of this store belong to another registry, and this one would throw them "
            "away: give the database that they were stored with, another data folder or store, or, "
            "if that database is lost, remove the store's file 'owner'"
        )
