"""Which entries of an archive are taken, ignored or refused; the same rules for every format."""

from pathlib import Path, PurePosixPath
from typing import Protocol

from adapters.errors import MalformedFile, TooLarge, UnsafeArchive, UnsafeFile, shown
from adapters.files import CONFIG_FILE, WEIGHTS_FILE
from adapters.limits import Limits

PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
"""Files that PyTorch unpickles."""

_CHUNK_BYTES = 2**20
_MAX_NAME_CHARS = 1024


class Readable(Protocol):
    """Anything that bytes can be read from."""

    def read(self, size: int, /) -> bytes:
        """Read up to so many bytes; none means the end."""


class MemberRules:
    """Judges the entries of one archive as they come; keeps count of what was seen."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.found: set[str] = set()
        self.ignored = 0
        self._entries = 0
        self._seen: set[str] = set()
        self._folder: PurePosixPath | None = None

    def count_entry(self) -> None:
        """Count one more entry.

        Raises:
            TooLarge: there are more than allowed.
        """
        self._entries += 1
        if self._entries > self.limits.max_archive_entries:
            raise TooLarge(
                f"the archive has more than {self.limits.max_archive_entries} entries; pack only "
                "the adapter's two files"
            )

    def wanted_name(self, name: str) -> str | None:
        """The fixed file name to write a plain file's entry to, or None to ignore it.

        Raises:
            UnsafeArchive: the name is absolute, climbs out, or came before.
            UnsafeFile: it is a pickle.
            MalformedFile: the archive holds more than one adapter.
        """
        path = self._safe_path(name)
        if path.suffix.lower() in PICKLE_SUFFIXES:
            raise UnsafeFile(
                f"the archive holds {shown(path.name)}, a pickled file, which can run code when "
                "loaded; leave it out and save weights as safetensors"
            )
        if path.name not in (CONFIG_FILE, WEIGHTS_FILE) or len(path.parts) > 2:
            self.ignored += 1
            return None
        if self._folder is not None and path.parent != self._folder:
            raise MalformedFile(
                "the archive holds adapter files in more than one folder; pack one adapter at a "
                "time"
            )
        self._folder = path.parent
        self.found.add(path.name)
        return path.name

    def check_folder(self, name: str) -> None:
        """Judge the name of a folder's entry."""
        self._safe_path(name)

    def max_bytes(self, wanted: str) -> int:
        """The limit on the size of a wanted file."""
        limits = self.limits
        return limits.max_config_bytes if wanted == CONFIG_FILE else limits.max_weights_bytes

    def _safe_path(self, name: str) -> PurePosixPath:
        unsafe = name.startswith("/") or "\\" in name or name[1:2] == ":"
        if unsafe or not name.isprintable() or len(name) > _MAX_NAME_CHARS:
            raise UnsafeArchive(f"the archive holds the unsafe name {shown(name)}")
        path = PurePosixPath(name)
        if ".." in path.parts:
            raise UnsafeArchive(f"the name {shown(name)} climbs out of the archive's folder")
        if str(path) in self._seen:
            raise UnsafeArchive(f"the archive holds {shown(name)} twice")
        self._seen.add(str(path))
        return path


def copy_bounded(source: Readable, target: Path, max_bytes: int) -> None:
    """Write a new file from a stream, giving up as soon as it exceeds the limit.

    Raises:
        TooLarge: it does.
    """
    remaining = max_bytes
    with target.open("xb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            remaining -= len(chunk)
            if remaining < 0:
                raise TooLarge(f"{target.name} is larger than {max_bytes} bytes")
            file.write(chunk)
