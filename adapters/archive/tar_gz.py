"""Reads adapters from .tar.gz files, as a stream: nothing is sought, nothing unpacked twice."""

import gzip
import io
import tarfile
import zlib
from pathlib import Path
from typing import BinaryIO, Self

from adapters.archive.members import MemberRules, copy_bounded
from adapters.errors import InvalidAdapter, MalformedFile, TooLarge, UnsafeArchive, shown

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


def unpack_tar_gz(source: BinaryIO, destination: Path, rules: MemberRules) -> None:
    """Write the wanted files of a gzip-compressed tar into a folder."""
    limits = rules.limits
    allowed = limits.max_weights_bytes + limits.max_config_bytes + limits.max_ignored_bytes
    try:
        with (
            gzip.GzipFile(fileobj=source, mode="rb") as plain,
            tarfile.open(
                fileobj=_BoundedReader(plain, allowed), mode="r|", tarinfo=_BoundedTarInfo
            ) as archive,
        ):
            for member in archive:
                rules.count_entry()
                _take(archive, member, destination, rules)
    except InvalidAdapter:
        raise
    except _BROKEN as error:
        raise MalformedFile("the .tar.gz archive is damaged or truncated") from error


def _take(
    archive: tarfile.TarFile, member: tarfile.TarInfo, destination: Path, rules: MemberRules
) -> None:
    if member.isdir():
        rules.check_folder(member.name)
        return
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
        raise UnsafeArchive(f"{shown(member.name)} is a link, a device or a sparse file")
    wanted = rules.wanted_name(member.name)
    content = None if wanted is None else archive.extractfile(member)
    if wanted is None or content is None:
        return
    with content:
        copy_bounded(content, destination / wanted, rules.max_bytes(wanted))


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
