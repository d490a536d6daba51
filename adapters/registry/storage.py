"""Opens the two halves of a registry: the database of names and the store of contents."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import Engine

from adapters.database.connection import check_database_url, open_database, sqlite_url
from adapters.errors import StorageFailed
from adapters.store import AdapterStore, LocalStore

DATABASE_FILE = "registry.db"
DEFAULT_CACHE_BYTES = 10 * 2**30

_CONNECT_S = 10
_ANSWER_S = 60


@dataclass(frozen=True, slots=True)
class Locations:
    """Where names and contents are kept.

    Attributes:
        root: the data folder.
        database_url: of names and versions; a file in the data folder by default.
        store_url: ``s3://BUCKET/PREFIX``; contents lie in the data folder by default.
        store_options: for fsspec: ``endpoint_url``, ``key``, ``secret``, ``token``. What is missing
            comes from AWS's usual environment variables and files.
        cache_bytes: how much the copies of remote contents on this machine may take.
    """

    root: Path
    database_url: str | None = field(default=None, repr=False)
    store_url: str | None = None
    store_options: Mapping[str, str] = field(default_factory=dict, repr=False)
    cache_bytes: int = DEFAULT_CACHE_BYTES


@dataclass(frozen=True, slots=True)
class Storage:
    """The opened halves."""

    database: Engine
    store: AdapterStore


def check_locations(locations: Locations) -> None:
    """Let URLs through that can be opened, before anything is.

    Raises:
        StorageFailed: one is not understood. Messages do not repeat the database's.
    """
    if locations.database_url is not None:
        check_database_url(locations.database_url)
    if locations.store_url is not None:
        _bucket_path(locations.store_url)


def open_storage(locations: Locations, *, tidy: bool = True) -> Storage:
    """Open both; the tables are made or brought up to date.

    Args:
        locations: where they are.
        tidy: throw away what uploads that were cut off have left on this machine.

    Raises:
        StorageFailed: one of them refuses, or a URL is not understood.
    """
    check_locations(locations)
    store: AdapterStore
    if locations.store_url is None:
        store = LocalStore(locations.root, tidy=tidy)
    else:
        store = _open_remote(locations, _bucket_path(locations.store_url), tidy=tidy)
    return Storage(open_names(locations), store)


def open_names(locations: Locations) -> Engine:
    """Open the database alone.

    Raises:
        StorageFailed: it refuses, or its URL is not understood.
    """
    default = sqlite_url(locations.root.resolve() / DATABASE_FILE)
    return open_database(locations.database_url or default)


def _bucket_path(url: str) -> str:
    """Bucket and prefix.

    Raises:
        StorageFailed: the URL is none of S3.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or parts.query:
        raise StorageFailed(
            "the store's URL is not understood; it must be like s3://BUCKET/PREFIX, with address "
            "and keys in store_options or in AWS's environment variables"
        )
    return f"{parts.netloc}{parts.path}".rstrip("/")


def _open_remote(locations: Locations, path: str, *, tidy: bool) -> AdapterStore:
    # Loaded here alone: most servers need no object store.
    from s3fs import S3FileSystem

    from adapters.store.s3 import RemoteStore
    from adapters.store.s3_errors import object_errors

    with object_errors("open the adapter store"):
        files = S3FileSystem(
            **locations.store_options,
            use_listings_cache=False,
            config_kwargs={"connect_timeout": _CONNECT_S, "read_timeout": _ANSWER_S},
        )
    return RemoteStore(files, path, locations.root, locations.cache_bytes, tidy=tidy)
