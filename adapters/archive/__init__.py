"""Unpacks an uploaded adapter into a staging folder, trusting nothing in it.

What comes out is ``adapter_config.json`` and ``adapter_model.safetensors`` at most, written under
those fixed names: no name from an archive ever becomes a path.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from adapters.archive.members import PICKLE_SUFFIXES, copy_bounded
from adapters.archive.tar_gz import unpack_tar_gz
from adapters.archive.zip_file import unpack_zip
from adapters.errors import MalformedFile, UnsafeFile, shown
from adapters.files import CONFIG_FILE, WEIGHTS_FILE
from adapters.limits import Limits

__all__ = ["Unpacked", "place_files", "unpack_archive"]

_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What became of an upload.

    Attributes:
        folder: with both files.
        ignored: how many other entries the archive had.
    """

    folder: Path
    ignored: int


def unpack_archive(source: BinaryIO, destination: Path, limits: Limits) -> Unpacked:
    """Unpack a .zip or .tar.gz into an existing empty folder.

    The two files of the shallowest folder that has both are taken; nothing else is read.

    Args:
        source: the archive, seekable; its kind is read from its first bytes.
        destination: where the two files are written. On an error the caller throws it away.
        limits: bounds on entries and uncompressed bytes.

    Raises:
        InvalidAdapter: the archive is unsafe, malformed, too large, or lacks one of the files.
        StorageFailed: the disk refused.
    """
    magic = source.read(4)
    source.seek(0)
    if magic in _ZIP_MAGICS:
        return Unpacked(destination, unpack_zip(source, destination, limits))
    if magic.startswith(_GZIP_MAGIC):
        return Unpacked(destination, unpack_tar_gz(source, destination, limits))
    raise MalformedFile("the archive is neither a .zip nor a .tar.gz file")


def place_files(
    config: BinaryIO,
    weights: BinaryIO,
    destination: Path,
    limits: Limits,
    weights_name: str,
) -> Unpacked:
    """Copy the two bare files of an upload into an existing empty folder.

    Args:
        config: the content of ``adapter_config.json``.
        weights: the content of ``adapter_model.safetensors``.
        destination: where they are written.
        limits: bounds on their sizes.
        weights_name: the name that the client gave the weights, looked at for pickles only.

    Raises:
        UnsafeFile: the weights are called like a pickle.
        TooLarge: one of them exceeds its limit.
        StorageFailed: the disk refused.
    """
    if PurePosixPath(weights_name).suffix.lower() in PICKLE_SUFFIXES:
        raise UnsafeFile(
            f"{shown(PurePosixPath(weights_name).name)} is a pickled file, which can run code when "
            "loaded; upload adapter_model.safetensors"
        )
    copy_bounded(config, destination / CONFIG_FILE, limits.max_config_bytes)
    copy_bounded(weights, destination / WEIGHTS_FILE, limits.max_weights_bytes)
    return Unpacked(destination, 0)
