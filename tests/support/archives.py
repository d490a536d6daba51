"""Builds archives of every sort, honest and not."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable


def zip_of(members: Iterable[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    """A .zip of the members in order; names may repeat."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name) if isinstance(name, str) else name
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def zip_with_duplicate(members: list[tuple[str, bytes]]) -> bytes:
    """A .zip whose first member comes twice (written under another name, then renamed)."""
    name, content = members[0]
    stand_in = "#" * len(name)
    return zip_of([*members, (stand_in, content)]).replace(stand_in.encode(), name.encode())


def encrypted_zip(members: list[tuple[str, bytes]]) -> bytes:
    """A .zip that claims all its members are encrypted."""
    content = bytearray(zip_of(members))
    for signature, flag_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            content[at + flag_at] |= 1
            at = content.find(signature, at + 4)
    return bytes(content)


def symlink_zip_entry(name: str) -> zipfile.ZipInfo:
    """An entry that unpacks to a symbolic link."""
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = 0o120777 << 16
    return info


def tar_gz_of(members: Iterable[tuple[str | tarfile.TarInfo, bytes]]) -> bytes:
    """A .tar.gz of the members in order; names may repeat."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tar_entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """An entry that is not a plain file."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


def tar_gz_with_huge_extended_header() -> bytes:
    """A .tar.gz whose first header announces an extended header of 8 GiB."""
    info = tarfile.TarInfo("pax")
    info.type = tarfile.XHDTYPE
    info.size = 8 * 2**30 - 1
    return gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(4096))
