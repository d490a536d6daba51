"""Which entries of an archive are an adapter's two files; the same rules for every format.

Entries are judged in two steps. While they are listed, only their names and number count: a name
that leads out of the archive is refused wherever it stands. Then the two files of the shallowest
adapter folder are chosen, and only they are held to everything else. What lies beside them,
optimiser states, pickles, links, other checkpoints, is never read.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from adapters.errors import (
    InvalidAdapter,
    MalformedFile,
    MissingFile,
    TooLarge,
    UnsafeArchive,
    UnsafeFile,
    shown,
)
from adapters.files import CONFIG_FILE, WEIGHTS_FILE, storage_errors
from adapters.limits import Limits

PICKLE_SUFFIXES: Final = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
"""Files that PyTorch unpickles."""

_PICKLED: Final = "pickled weights"
_CHUNK_BYTES: Final = 2**20
_DRIVE: Final = re.compile(r"[A-Za-z]:")


class Readable(Protocol):
    """Anything that bytes can be read from."""

    def read(self, size: int, /) -> bytes:
        """Read up to so many bytes; none means the end."""


@dataclass(frozen=True, slots=True)
class _Member:
    """An entry that is called like a file of an adapter.

    Attributes:
        number: its place among the archive's entries.
        fault: why it may not be taken; None if it may.
    """

    number: int
    fault: InvalidAdapter | None


class Listing:
    """The entries of one archive, listed in its order, and the choice among them."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.entries = 0
        self._folders: dict[PurePosixPath, dict[str, _Member]] = {}

    def add(self, name: str, size: int, fault: InvalidAdapter | None = None) -> None:
        """List the next entry.

        Args:
            name: as the archive has it; Windows' separators count as such.
            size: unpacked, in bytes, as the archive says.
            fault: why it may not be taken if it should be chosen.

        Raises:
            TooLarge: there are more entries than allowed.
            UnsafeArchive: the name is absolute or climbs out.
        """
        number = self.entries
        path = self._next(name)
        kind = _kind(path.name)
        if kind is None:
            return
        if fault is None and size > self.max_bytes(kind):
            fault = TooLarge(f"{path.name} is larger than {self.max_bytes(kind)} bytes")
        folder = self._folders.setdefault(path.parent, {})
        member = _Member(number, fault)
        if kind in folder and kind != _PICKLED:
            twice = UnsafeArchive(f"the archive holds {shown(path)} twice")
            member = replace(folder[kind], fault=twice)
        folder[kind] = member

    def add_folder(self, name: str) -> None:
        """List the next entry, which is a folder.

        Raises:
            TooLarge, UnsafeArchive: as for a file.
        """
        self._next(name)

    def chosen(self) -> dict[int, str]:
        """The place of each of the two files of the shallowest adapter folder → its fixed name.

        Raises:
            MissingFile: there is no folder with both.
            MalformedFile: there are several, side by side.
            UnsafeFile: one of the files may not be taken.
        """
        adapters = {
            folder: files
            for folder, files in self._folders.items()
            if CONFIG_FILE in files and (WEIGHTS_FILE in files or _PICKLED in files)
        }
        if not adapters:
            raise self._missing()
        depth = min(len(folder.parts) for folder in adapters)
        shallowest = [folder for folder in adapters if len(folder.parts) == depth]
        if len(shallowest) > 1:
            named = ", ".join(shown(folder) for folder in sorted(shallowest)[:4])
            raise MalformedFile(
                f"the archive holds {len(shallowest)} adapters side by side ({named}); pack one "
                "adapter at a time"
            )
        files = adapters[shallowest[0]]
        if WEIGHTS_FILE not in files:
            raise UnsafeFile(
                "the archive holds the adapter's weights as a pickled file, which can run code "
                f"when loaded; save them as {WEIGHTS_FILE}"
            )
        taken = {name: files[name] for name in (CONFIG_FILE, WEIGHTS_FILE)}
        for member in taken.values():
            if member.fault is not None:
                raise member.fault
        return {member.number: name for name, member in taken.items()}

    def max_bytes(self, wanted: str) -> int:
        """The limit on the size of a wanted file."""
        limits = self.limits
        return limits.max_config_bytes if wanted == CONFIG_FILE else limits.max_weights_bytes

    def _next(self, name: str) -> PurePosixPath:
        """Count an entry, and give its path, which must stay within the archive."""
        self.entries += 1
        if self.entries > self.limits.max_archive_entries:
            raise TooLarge(
                f"the archive has more than {self.limits.max_archive_entries} entries; pack only "
                "the adapter's two files"
            )
        plain = name.replace("\\", "/")
        if plain.startswith("/") or _DRIVE.match(plain):
            raise UnsafeArchive(f"the archive holds the unsafe name {shown(name)}")
        path = PurePosixPath(plain)
        if ".." in path.parts:
            raise UnsafeArchive(f"the name {shown(name)} climbs out of the archive's folder")
        return path

    def _missing(self) -> InvalidAdapter:
        """Why there is no adapter: what is wrong with a part of one, or that it is not there."""
        files = [member for files in self._folders.values() for member in files.values()]
        for member in files:
            if member.fault is not None:
                return member.fault
        names = {name for files in self._folders.values() for name in files}
        missing = [name for name in (CONFIG_FILE, WEIGHTS_FILE) if name not in names]
        if not missing:
            return MissingFile(
                f"the archive has {CONFIG_FILE} and {WEIGHTS_FILE} in different folders; put them "
                "into one"
            )
        return MissingFile(f"the archive lacks {' and '.join(missing)}")


def _kind(name: str) -> str | None:
    """Which file of an adapter an entry is called like; None for any other."""
    if name in (CONFIG_FILE, WEIGHTS_FILE):
        return name
    return _PICKLED if is_pickled_weights(name) else None


def is_pickled_weights(name: str) -> bool:
    """Whether a file is called like an adapter's weights as PyTorch pickles them."""
    path = PurePosixPath(name.lower())
    return path.stem == PurePosixPath(WEIGHTS_FILE).stem and path.suffix in PICKLE_SUFFIXES


def copy_bounded(source: Readable, target: Path, max_bytes: int) -> None:
    """Write a new file from a stream, giving up as soon as it exceeds the limit.

    Raises:
        TooLarge: it does.
        StorageFailed: the disk refused.
    """
    remaining = max_bytes
    with storage_errors("keep an upload"), target.open("xb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            remaining -= len(chunk)
            if remaining < 0:
                raise TooLarge(f"{target.name} is larger than {max_bytes} bytes")
            file.write(chunk)


class Guarded:
    """Reads an archive's member; turns the library's complaints about it into ours.

    Args:
        member: what is read.
        name: how messages call it.
        broken: what the library raises at damaged archives.
    """

    def __init__(self, member: Readable, name: str, broken: tuple[type[Exception], ...]) -> None:
        self._member = member
        self._name = name
        self._broken = broken

    def read(self, size: int, /) -> bytes:
        """Read up to so many bytes.

        Raises:
            MalformedFile: the archive is damaged there.
        """
        try:
            return self._member.read(size)
        except self._broken as error:
            raise MalformedFile(f"{self._name} in the archive is damaged") from error
