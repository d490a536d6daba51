"""Reads adapters from .zip files."""

import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, BinaryIO

from adapters.archive.members import MemberRules, copy_bounded
from adapters.errors import MalformedFile, TooLarge, UnsafeArchive, shown

_END_SIGNATURE = b"PK\x05\x06"
_END_BYTES = 22
_ZIP64_LOCATOR_SIGNATURE = b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES = 20
_MAX_COMMENT_BYTES = 2**16
_MAX_DIRECTORY_BYTES_PER_ENTRY = 4096
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    ValueError,
    OSError,
)
"""What the standard library raises at damaged archives."""


def unpack_zip(source: BinaryIO, destination: Path, rules: MemberRules) -> None:
    """Write the wanted files of a zip into a folder."""
    _check_directory_size(source, rules)
    try:
        archive = zipfile.ZipFile(source)
    except _BROKEN as error:
        raise MalformedFile("the .zip archive is damaged: its directory is unreadable") from error
    with archive:
        for entry in archive.infolist():
            rules.count_entry()
            _check_entry(entry)
            if entry.is_dir():
                rules.check_folder(entry.filename)
                continue
            wanted = rules.wanted_name(entry.filename)
            if wanted is not None:
                _extract(archive, entry, destination / wanted, rules.max_bytes(wanted))


def _check_directory_size(source: BinaryIO, rules: MemberRules) -> None:
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
    if directory_bytes > rules.limits.max_archive_entries * _MAX_DIRECTORY_BYTES_PER_ENTRY:
        raise TooLarge(
            f"the archive has more than {rules.limits.max_archive_entries} entries; pack only the "
            "adapter's two files"
        )


def _check_entry(entry: zipfile.ZipInfo) -> None:
    if not entry.filename or entry.orig_filename != entry.filename:
        raise UnsafeArchive(f"the archive holds the unsafe name {shown(entry.orig_filename)}")
    if entry.flag_bits & _ENCRYPTED:
        raise UnsafeArchive(f"{shown(entry.filename)} is encrypted; upload a plain archive")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    is_odd_folder = kind == stat.S_IFDIR and not entry.is_dir()
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or is_odd_folder:
        raise UnsafeArchive(f"{shown(entry.filename)} is a link or a device")
    if entry.compress_type not in _METHODS:
        raise MalformedFile(
            f"{shown(entry.filename)} is compressed by an unusual method; use deflate"
        )


def _extract(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, max_bytes: int
) -> None:
    if entry.file_size > max_bytes:
        raise TooLarge(f"{target.name} is larger than {max_bytes} bytes")
    try:
        member = archive.open(entry)
    except (*_BROKEN, RuntimeError) as error:
        raise MalformedFile(f"{target.name} in the .zip archive is damaged") from error
    with member:
        copy_bounded(_Guarded(member, target.name), target, max_bytes)


class _Guarded:
    """Reads a member; turns the library's complaints about its content into ours."""

    def __init__(self, member: IO[bytes], name: str) -> None:
        self._member = member
        self._name = name

    def read(self, size: int, /) -> bytes:
        try:
            return self._member.read(size)
        except _BROKEN as error:
            raise MalformedFile(f"{self._name} in the .zip archive is damaged") from error
