"""Which sources the settings allow."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from server.errors import SourceNotAllowed
from server.sources.address import HTTPS_PORT, FileSource, HttpsSource, HubSource, S3Source, Source
from server.sources.settings import SourceSettings


def check_allowed(source: Source, settings: SourceSettings) -> None:
    """Let a source through that the settings list.

    What a folder really holds is only seen when it is opened (``server.sources.folder``).

    Raises:
        SourceNotAllowed: its kind is off, or it is not on the list.
    """
    match source:
        case HubSource():
            allowed = any(_by_step(source.repository, one) for one in settings.hf)
            _need(allowed, settings.hf, "hf", f"the repository {source.repository}")
        case S3Source():
            path = f"{source.bucket}/{source.key}"
            _need(
                any(_in_bucket(path, one) for one in settings.s3),
                settings.s3,
                "s3",
                "this bucket and prefix",
            )
        case HttpsSource():
            host = source.url.raw_host.decode("ascii")
            _need(names_host(host, settings.https), settings.https, "https", f"the host {host}")
            check_port(source.url.port, settings)
        case FileSource():
            _need(settings.file is not None, (), "file", "folders of the server")


def names_host(host: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns names a host (ASCII, small letters)."""
    return any(fnmatchcase(host, pattern) for pattern in patterns)


def check_port(port: int | None, settings: SourceSettings) -> None:
    """Let a port of HTTPS through; None is the usual one.

    Raises:
        SourceNotAllowed: the settings do not list it.
    """
    port = HTTPS_PORT if port is None else port
    if port not in settings.https_ports:
        raise _refused(f"port {port} is not in the setting sources.https_ports")


def _by_step(repository: str, pattern: str) -> bool:
    """Compare organisation and name each by itself: no * goes beyond its slash."""
    names, patterns = repository.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))


def _in_bucket(path: str, pattern: str) -> bool:
    """No * goes from the bucket into the key; without a key in the pattern any will do."""
    bucket, _, key = path.partition("/")
    bucket_pattern, _, key_pattern = pattern.partition("/")
    return fnmatchcase(bucket, bucket_pattern) and fnmatchcase(key, key_pattern or "*")


def _need(allowed: bool, patterns: tuple[str, ...], kind: str, what: str) -> None:
    if allowed:
        return
    if not patterns:
        raise _refused(
            f"{kind}:// is not allowed on this server; the setting sources.{kind} allows it"
        )
    raise _refused(f"{what} is not in the setting sources.{kind}")


def _refused(message: str) -> SourceNotAllowed:
    return SourceNotAllowed(message, param="source")
