"""Files that are read without following links and written whole or not at all."""

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.errors import MissingFile, StorageFailed, StorageFull, UnsafeFile

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
ROUTING_FILE = "router.json"
"""What the router may know of the adapter; it may be absent."""


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the file system says when there is no room, or no more of it for this user."""


def open_regular_file(path: Path) -> int:
    """Open a file for reading and return its descriptor; follow no link, wait on no pipe.

    Raises:
        MissingFile: there is no such file.
        UnsafeFile: it is a link, a folder, a pipe or a device.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise MissingFile(f"{path.name} is missing") from None
    except OSError as error:
        raise UnsafeFile(f"{path.name} cannot be read as a plain file: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnsafeFile(f"{path.name} is not a plain file")
    return descriptor


def sync_folder(folder: Path) -> None:
    """Make the entries of a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file: readers, and a restart after a crash, see the old or the new one whole."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def is_full(error: BaseException) -> bool:
    """Whether the file system refused for want of room."""
    return isinstance(error, OSError) and error.errno in _FULL


def disk_full(doing: str) -> StorageFull:
    """The error for want of room."""
    return StorageFull(
        f"could not {doing}: the server's disk is full; remove adapters that are not needed, or "
        "make room on it, then try again"
    )


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn the file system's refusals into ours: what failed and why, without the path.

    Raises:
        StorageFull: there is no room left.
        StorageFailed: it refused otherwise.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise disk_full(doing) from error
        reason = error.strerror or "input/output error"
        raise StorageFailed(f"could not {doing}: {reason}") from error


def adapter_folders(folder: Path) -> list[Path]:
    """The subfolders that look like an adapter's, by name; none if there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if (entry / CONFIG_FILE).is_file())


@contextmanager
def passing_folder(parent: Path) -> Iterator[Path]:
    """A new empty folder below another one, gone when the block is left."""
    folder = parent / uuid.uuid4().hex
    with storage_errors("make room for an adapter"):
        folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
