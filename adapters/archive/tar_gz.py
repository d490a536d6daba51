"""Reads adapters from .tar.gz files, as a stream in which nothing is sought."""

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self

from adapters.archive.members import Guarded, Listing, copy_bounded
from adapters.errors import InvalidAdapter, MalformedFile, TooLarge, UnsafeArchive, shown
from adapters.limits import Limits

_CHUNK_BYTES = 2**20
_MAX_EXTENDED_HEADER_BYTES = 2**16
_EXTENDED_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_BROKEN = (tarfile.TarError, zlib.error, EOFError, ValueError, OSError, RecursionError)
"""What the standard library raises at damaged archives."""


def unpack_tar_gz(source: BinaryIO, destination: Path, limits: Limits) -> int:
    """Write an adapter's two files out of a gzip-compressed tar into a folder.

    The stream is gone through twice: what is to be taken is known only when all of it is listed.

    Returns:
        How many other entries there are.
    """
    allowed = _allowed_bytes(source, limits)
    listing = Listing(limits)
    with _opened(source, allowed) as (archive, plain):
        for member in archive:
            if member.isdir():
                listing.add_folder(member.name)
            else:
                listing.add(member.name, member.size, _fault(member))
        while plain.read(_CHUNK_BYTES):  # the checksum is at the very end
            pass
    chosen = listing.chosen()
    source.seek(0)
    with _opened(source, allowed) as (archive, _):
        left = set(chosen)
        for number, member in enumerate(archive):
            if number in left:
                name = chosen[number]
                _extract(archive, member, destination / name, listing.max_bytes(name))
                left.remove(number)
            if not left:
                break
    return listing.entries - len(chosen)


def _allowed_bytes(source: BinaryIO, limits: Limits) -> int:
    """How much may be unpacked on the way: by the archive's size, so that a bomb gains little."""
    size = source.seek(0, os.SEEK_END)
    source.seek(0)
    ignored = limits.max_ignored_bytes + limits.max_ignored_ratio * size
    return limits.max_weights_bytes + limits.max_config_bytes + ignored


@contextmanager
def _opened(source: BinaryIO, max_bytes: int) -> Iterator[tuple[tarfile.TarFile, "_BoundedReader"]]:
    """The archive, and what it is unpacked from; damages are told as ours."""
    try:
        with gzip.GzipFile(fileobj=source, mode="rb") as unpacked:
            plain = _BoundedReader(unpacked, max_bytes)
            with tarfile.open(fileobj=plain, mode="r|", tarinfo=_BoundedTarInfo) as archive:
                yield archive, plain
    except _BROKEN as error:
        raise MalformedFile("the .tar.gz archive is damaged or truncated") from error


def _fault(member: tarfile.TarInfo) -> InvalidAdapter | None:
    """Why an entry may not be taken; None if it may."""
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
        return UnsafeArchive(f"{shown(member.name)} is a link, a device or a sparse file")
    return None


def _extract(
    archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, max_bytes: int
) -> None:
    content = archive.extractfile(member)
    if content is None:
        raise MalformedFile(f"{target.name} in the archive is damaged")
    with content:
        copy_bounded(Guarded(content, target.name, _BROKEN), target, max_bytes)


class _BoundedReader(io.RawIOBase):
    """Passes on decompressed bytes up to a limit, those of ignored files included."""

    def __init__(self, source: gzip.GzipFile, max_bytes: int) -> None:
        super().__init__()
        self._source = source
        self._max_bytes = max_bytes
        self._remaining = max_bytes

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self._remaining -= len(data)
        if self._remaining < 0:
            raise TooLarge(f"the archive unpacks to more than {self._max_bytes} bytes")
        return data


class _BoundedTarInfo(tarfile.TarInfo):
    """Refuses extended headers (long names, attributes) that would be read whole into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        info = super().frombuf(buf, encoding, errors)
        if info.type in _EXTENDED_HEADERS and info.size > _MAX_EXTENDED_HEADER_BYTES:
            raise TooLarge("the archive has an extended header of absurd size")
        return info
