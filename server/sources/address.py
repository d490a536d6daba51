"""Reads the address of a source: what it names, before anything asks whether it is allowed.

hf://ORG/REPO@COMMIT[/SUBFOLDER]
s3://BUCKET/PREFIX, or s3://BUCKET/KEY.zip
https://HOST/PATH.zip, or .tar.gz
file:///FOLDER, or an archive
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

from adapters.errors import shown
from server.errors import InvalidSource

MAX_CHARACTERS = 4096
ARCHIVE_SUFFIXES = (".zip", ".tar.gz", ".tgz")
HTTPS_PORT = 443
_MAX_PORT = 65535

_REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_STEP = re.compile(r"[^/\\\x00-\x1f\x7f?#%]{1,255}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)")


@dataclass(frozen=True, slots=True)
class HubSource:
    """A folder of one commit of a repository. ``folder`` is "" for the repository's root."""

    repository: str
    commit: str
    folder: str

    @property
    def shown(self) -> str:
        """The address, as it may be shown."""
        return "/".join(filter(None, (f"hf://{self.repository}@{self.commit}", self.folder)))


@dataclass(frozen=True, slots=True)
class S3Source:
    """Two objects under a prefix, or an archive under a key."""

    bucket: str
    key: str

    @property
    def shown(self) -> str:
        """The address, as it may be shown."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class HttpsSource:
    """An archive behind an address."""

    url: httpx.URL

    @property
    def shown(self) -> str:
        """The address, as it may be shown: without the query, which may be a signature."""
        text = str(self.url.copy_with(query=None))
        return f"{text}?…" if self.url.query else text


@dataclass(frozen=True, slots=True)
class FileSource:
    """A folder with the two files, or an archive, on the server's machine."""

    path: str

    @property
    def shown(self) -> str:
        """The address, as it may be shown."""
        return f"file://{self.path}"


Source = HubSource | S3Source | HttpsSource | FileSource


def parse_source(text: str) -> Source:
    """What an address names.

    Raises:
        InvalidSource: it is none of the four kinds, or does not say enough.
    """
    if not text.isprintable() or len(text) > MAX_CHARACTERS:
        raise _invalid("a source is a printable text of at most 4096 characters")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise _invalid(f"{shown(text)} is not an address") from None
    if parts.scheme == "hf":
        return _hub(parts, text)
    if parts.scheme == "s3":
        return _s3(parts)
    if parts.scheme == "https":
        return HttpsSource(_archive(parse_https(text)))
    if parts.scheme == "file":
        return _file(parts)
    raise _invalid(f"{shown(text[:40])} must begin with hf://, s3://, https:// or file://")


def parse_https(text: str) -> httpx.URL:
    """An address of HTTPS, its host in ASCII and small letters.

    Raises:
        InvalidSource: it is none, or says more than host, port, path and query.
    """
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        raise _invalid("the address is not a URL") from None
    if url.scheme != "https":
        raise _invalid("only https:// addresses are fetched, and redirects must lead to one")
    if url.port is not None and not 0 < url.port <= _MAX_PORT:
        raise _invalid("the address's port must be one of 1 to 65535")
    if url.userinfo or url.fragment:
        raise _invalid("the address must hold neither a user nor a fragment (#)")
    _check_host(url.raw_host.decode("ascii"))
    return url


def is_archive(path: str) -> bool:
    """Whether a path is called like an archive."""
    return path.lower().endswith(ARCHIVE_SUFFIXES)


def _check_host(host: str) -> None:
    """Refuse spellings of an address that programs read differently: decimal, octal, short."""
    if not host or host.endswith("."):
        raise _invalid("the address needs a host, without a dot at its end")
    if _NUMBER.fullmatch(host.rpartition(".")[2]) is None:
        return
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise _invalid(
            f"{shown(host)} is an unusual spelling of an IP address; write it as 192.0.2.1"
        ) from None


def _archive(url: httpx.URL) -> httpx.URL:
    if not is_archive(url.path):
        raise _invalid("an https:// source must be an archive: its path ends in .zip or .tar.gz")
    return url


def _hub(parts: SplitResult, text: str) -> HubSource:
    form = "hf://ORG/REPO@COMMIT, and a folder after it if need be"
    if parts.query or parts.fragment:
        raise _invalid(f"write the source as {form}")
    organisation, _, rest = text.removeprefix("hf://").partition("/")
    pinned, _, folder = rest.partition("/")
    name, at, revision = pinned.partition("@")
    if not at or not _COMMIT.fullmatch(revision):
        raise _invalid(
            f"the revision must be a whole commit, 40 hexadecimal digits: {form}. Branches and "
            "tags can be moved, so that nobody could say what was imported"
        )
    if not all(map(_REPOSITORY.fullmatch, (organisation, name))):
        raise _invalid(f"write the source as {form}")
    return HubSource(f"{organisation}/{name}", revision, _steps(folder))


def _s3(parts: SplitResult) -> S3Source:
    key = _steps(parts.path.strip("/"))
    if not _BUCKET.fullmatch(parts.netloc) or not key or parts.query or parts.fragment:
        raise _invalid("write the source as s3://BUCKET/PREFIX, or s3://BUCKET/KEY.zip")
    return S3Source(parts.netloc, key)


def _file(parts: SplitResult) -> FileSource:
    path = unquote(parts.path)
    plain = path.startswith("/") and path.isprintable()
    if parts.netloc not in ("", "localhost") or not plain or parts.query or parts.fragment:
        raise _invalid("write the source as file:///FOLDER, with the folder's whole path")
    return FileSource(path)


def _steps(path: str) -> str:
    """A path of plain steps."""
    steps = path.split("/") if path else []
    if any(step in (".", "..") or _STEP.fullmatch(step) is None for step in steps):
        raise _invalid(
            f"{shown(path)} is not a plain path; write it without '.', '..' and empty steps"
        )
    return str(PurePosixPath(*steps)) if steps else ""


def _invalid(message: str) -> InvalidSource:
    return InvalidSource(message, param="source")
