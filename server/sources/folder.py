"""Copies an adapter out of a folder of the server's machine, and never from beside it.

Links are followed only if what they lead to lies below the root. Then the way there is walked
step by step from the root without following any, so that a link that is put there meanwhile
leads nowhere.
"""

import os
import stat
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from adapters.errors import MissingFile, TooLarge, UnsafeFile
from adapters.files import CONFIG_FILE, WEIGHTS_FILE
from adapters.limits import Limits
from server.errors import SourceNotAllowed, SourceNotFound
from server.sources.address import is_archive
from server.sources.progress import FetchProgress

_PIECE_BYTES = 2**20
_STEP = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Root:
    """The one folder below which sources may lie."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, path: Path) -> tuple[BinaryIO, int]:
        """A plain file below the root, and its size in bytes.

        Raises:
            SourceNotAllowed: it lies elsewhere, whether it exists or not.
            MissingFile: it is not there.
            UnsafeFile: it is no plain file.
        """
        steps = self._steps(path)
        with ExitStack() as walked:
            try:
                here = os.open(os.path.realpath(self._folder), os.O_RDONLY | os.O_DIRECTORY)
                walked.callback(os.close, here)
                for step in steps[:-1]:
                    here = os.open(step, _STEP | os.O_DIRECTORY, dir_fd=here)
                    walked.callback(os.close, here)
                descriptor = os.open(steps[-1], _STEP, dir_fd=here)
            except FileNotFoundError:
                raise MissingFile(f"{path.name} is missing") from None
            except OSError as error:
                raise UnsafeFile(
                    f"{path.name} cannot be read as a plain file: {error.strerror}"
                ) from None
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise UnsafeFile(f"{path.name} is not a plain file")
        return os.fdopen(descriptor, "rb"), found.st_size

    def is_folder(self, path: Path) -> bool:
        """Whether a path below the root is a folder.

        Raises:
            SourceNotAllowed: it lies elsewhere.
        """
        real = Path(os.path.realpath(self._folder), *self._steps(path))
        try:
            return real.is_dir()
        except OSError:  # a name that no file system takes
            return False

    def _steps(self, path: Path) -> tuple[str, ...]:
        """The way from the root to where a path really leads.

        Raises:
            SourceNotAllowed: that is not below the root.
        """
        root = Path(os.path.realpath(self._folder))
        real = Path(os.path.realpath(root / path))
        if not real.is_relative_to(root) or real == root:
            raise SourceNotAllowed(
                "the path does not lie below the folder of the setting sources.file", param="source"
            )
        return real.relative_to(root).parts


def copy_adapter(
    root: Root,
    path: Path,
    stage: Path,
    limits: Limits,
    progress: FetchProgress,
    unpack: Callable[[Path], None],
) -> None:
    """Copy the two files of a folder, or unpack an archive.

    Args:
        root: what must not be left.
        path: a folder or an archive.
        stage: an existing empty folder.
        limits: bounds on sizes.
        progress: tells how far it is.
        unpack: takes a copied archive.

    Raises:
        SourceNotAllowed, SourceNotFound, InvalidAdapter: it cannot be taken.
    """
    if root.is_folder(path):
        sizes = {CONFIG_FILE: limits.max_config_bytes, WEIGHTS_FILE: limits.max_weights_bytes}
        for name, most in sizes.items():
            _copy(root, path / name, stage / name, most, progress)
    elif is_archive(path.name):
        copied = stage / "archive"
        try:
            _copy(root, path, copied, limits.max_weights_bytes, progress)
        except MissingFile:
            raise SourceNotFound("there is no such archive", param="source") from None
        unpack(copied)
    else:
        raise SourceNotFound("there is no such folder, and no such archive", param="source")


def _copy(root: Root, path: Path, target: Path, max_bytes: int, progress: FetchProgress) -> None:
    source, size = root.open(path)
    with source, target.open("xb") as file:
        progress.expect(size, max_bytes)
        left = max_bytes
        while piece := source.read(_PIECE_BYTES):
            left -= len(piece)
            if left < 0:  # it has grown meanwhile
                raise TooLarge(f"{target.name} is larger than {max_bytes} bytes")
            file.write(piece)
            progress.came(len(piece))
