"""Copies an adapter out of S3: two objects under a prefix, or an archive."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.errors import AdapterError, MissingFile, TooLarge
from adapters.files import CONFIG_FILE, WEIGHTS_FILE, disk_full, is_full
from adapters.limits import Limits
from server.errors import ServerError, SourceNotFound, SourceUnavailable
from server.sources.address import S3Source, is_archive
from server.sources.progress import FetchProgress

if TYPE_CHECKING:
    from s3fs import S3FileSystem

_PIECE_BYTES = 2**20
_BLOCK_BYTES = 8 * 2**20


def fetch_objects(
    source: S3Source,
    stage: Path,
    options: Mapping[str, str],
    limits: Limits,
    progress: FetchProgress,
    unpack: Callable[[Path], None],
) -> None:
    """Copy the objects of a source into a folder.

    Args:
        source: where they are.
        stage: an existing empty folder.
        options: for S3: ``endpoint_url``, ``key``, ``secret``, ``token``.
        limits: bounds on sizes.
        progress: tells how far it is.
        unpack: takes a copied archive.

    Raises:
        SourceNotFound: there is nothing.
        SourceUnavailable: S3 refused, or does not answer.
        InvalidAdapter: one of the two is missing, or too large.
    """
    path = f"{source.bucket}/{source.key}"
    with _translated(), _opened(options, progress) as files:
        if is_archive(source.key):
            if not _copy(files, path, stage / "archive", limits.max_weights_bytes, progress):
                raise SourceNotFound("S3 has no such object", param="source")
            unpack(stage / "archive")
            return
        sizes = {CONFIG_FILE: limits.max_config_bytes, WEIGHTS_FILE: limits.max_weights_bytes}
        copied = [
            name
            for name, most in sizes.items()
            if _copy(files, f"{path}/{name}", stage / name, most, progress)
        ]
    if not copied:
        raise SourceNotFound("S3 has no adapter under this prefix", param="source")
    for name in sizes.keys() - set(copied):
        raise MissingFile(f"{name} is missing")


@contextmanager
def _opened(options: Mapping[str, str], progress: FetchProgress) -> Iterator["S3FileSystem"]:
    """S3 for one fetch; its connections go with the block."""
    # Loaded here alone: most servers need no object store.
    from s3fs import S3FileSystem

    wait = progress.left_s(30)
    files = S3FileSystem(
        **options,
        use_listings_cache=False,
        skip_instance_cache=True,
        config_kwargs={"connect_timeout": min(10, wait), "read_timeout": wait},
    )
    try:
        yield files
    finally:
        if files._s3 is not None:
            files.close_session(files.loop, files._s3)


def _copy(
    files: "S3FileSystem", path: str, target: Path, max_bytes: int, progress: FetchProgress
) -> bool:
    """Copy one object; False if there is none."""
    try:
        size = int(files.info(path)["size"])
    except FileNotFoundError:
        return False
    progress.expect(size, max_bytes)
    left = max_bytes
    with (
        files.open(path, "rb", block_size=_BLOCK_BYTES) as source,
        target.open("xb") as file,
    ):
        while piece := source.read(_PIECE_BYTES):
            left -= len(piece)
            if left < 0:
                raise TooLarge(f"{target.name} is larger than {max_bytes} bytes")
            file.write(piece)
            progress.came(len(piece))
    return True


@contextmanager
def _translated() -> Iterator[None]:
    """S3's refusals, as ours: without its address."""
    try:
        yield
    except (AdapterError, ServerError):
        raise
    except FileNotFoundError:
        raise SourceNotFound("S3 has no such bucket or object", param="source") from None
    except PermissionError:
        raise SourceNotFound(
            "S3 does not let this server read there; see the setting sources.s3_options",
            param="source",
        ) from None
    # fsspec lets through whatever its libraries raise, each of which has a tree of its own that
    # cannot be named before the library is loaded.
    except Exception as error:
        if is_full(error):
            raise disk_full("fetch an adapter") from error
        raise SourceUnavailable(
            f"S3 does not answer as it should: {type(error).__name__}"
        ) from error
