"""Reads adapters from .zip files."""

import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from adapters.archive.members import Guarded, Listing, copy_bounded
from adapters.errors import InvalidAdapter, MalformedFile, TooLarge, UnsafeArchive, shown
from adapters.limits import Limits

_END_SIGNATURE = b"PK\x05\x06"
_END_BYTES = 22
_ZIP64_LOCATOR_SIGNATURE = b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES = 20
_MAX_COMMENT_BYTES = 2**16
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,  # a version of the format that zipfile does not read
    ValueError,
    OSError,
)
"""What the standard library raises at damaged archives."""


def unpack_zip(source: BinaryIO, destination: Path, limits: Limits) -> int:
    """Write an adapter's two files out of a zip into a folder.

    Returns:
        How many other entries there are.
    """
    _check_directory_size(source, limits)
    try:
        archive = zipfile.ZipFile(source)
    except _BROKEN as error:
        raise MalformedFile("the .zip archive is damaged: its directory is unreadable") from error
    with archive:
        entries = archive.infolist()
        listing = Listing(limits)
        for entry in entries:
            if entry.filename.endswith("/"):
                listing.add_folder(entry.filename)
            else:
                listing.add(entry.filename, entry.file_size, _fault(entry))
        for number, name in listing.chosen().items():
            _extract(archive, entries[number], destination / name, listing.max_bytes(name))
    return len(entries) - 2


def _check_directory_size(source: BinaryIO, limits: Limits) -> None:
    """Bound the directory before the library reads all of it into memory.

    The 64-bit extension, whose sizes would have to be bounded as well, is needed above 4 GiB only.
    """
    size = source.seek(0, os.SEEK_END)
    source.seek(max(0, size - _MAX_COMMENT_BYTES - _END_BYTES - _ZIP64_LOCATOR_BYTES))
    tail = source.read()
    source.seek(0)
    end = tail.rfind(_END_SIGNATURE)
    if end < 0 or end + _END_BYTES > len(tail):
        raise MalformedFile("the .zip archive is truncated: it has no directory at its end")
    if tail[max(0, end - _ZIP64_LOCATOR_BYTES) :].startswith(_ZIP64_LOCATOR_SIGNATURE):
        raise MalformedFile("the .zip archive uses the 64-bit extension; pack a .tar.gz instead")
    directory_bytes = int.from_bytes(tail[end + 12 : end + 16], "little")
    if directory_bytes > limits.max_directory_bytes:
        raise TooLarge(
            f"the archive's directory has {directory_bytes} bytes; pack only the adapter's two "
            "files"
        )


def _fault(entry: zipfile.ZipInfo) -> InvalidAdapter | None:
    """Why an entry may not be taken; None if it may."""
    if not entry.filename or entry.orig_filename != entry.filename:
        return UnsafeArchive(f"the archive holds the unsafe name {shown(entry.orig_filename)}")
    if entry.flag_bits & _ENCRYPTED:
        return UnsafeArchive(f"{shown(entry.filename)} is encrypted; upload a plain archive")
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        return UnsafeArchive(f"{shown(entry.filename)} is a link or a device")
    if entry.compress_type not in _METHODS:
        return MalformedFile(
            f"{shown(entry.filename)} is compressed by an unusual method; use deflate"
        )
    return None


def _extract(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, max_bytes: int
) -> None:
    try:
        member = archive.open(entry)
    except (*_BROKEN, RuntimeError) as error:
        raise MalformedFile(f"{target.name} in the archive is damaged") from error
    with member:
        copy_bounded(Guarded(member, target.name, _BROKEN), target, max_bytes)
