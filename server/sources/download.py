"""Downloads one file over HTTPS: bounded in bytes and time, every hop checked before it is made."""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urljoin

import httpcore
import httpx

from adapters.errors import TooLarge
from server.errors import (
    InvalidSettings,
    InvalidSource,
    SourceNotAllowed,
    SourceNotFound,
    SourceUnavailable,
)
from server.sources.address import HTTPS_PORT, parse_https
from server.sources.allowed import names_host
from server.sources.network import CheckedBackend, Network, Resolver, look_up
from server.sources.progress import FetchProgress
from server.sources.settings import SourceSettings

_MAX_HOPS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HIDDEN = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
_USER_AGENT = "loralloy"


@dataclass(frozen=True, slots=True)
class Web:
    """How this server reaches the web.

    Attributes:
        tls: whose certificates are believed.
        private: networks that may be connected to although they are not public.
        max_wait_s: longest wait for one answer, in seconds.
        resolve: how names are looked up.
    """

    tls: ssl.SSLContext
    private: Sequence[Network]
    max_wait_s: float
    resolve: Resolver = look_up


@dataclass(frozen=True, slots=True)
class Hops:
    """Where a download may be redirected to, beside its own host and port.

    Attributes:
        hosts: patterns of hosts.
        ports: ports on them.
        secret_headers: sent to the first host and port alone.
    """

    hosts: Sequence[str]
    ports: Sequence[int]
    secret_headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def open_web(settings: SourceSettings) -> Web:
    """How to reach the web, by the settings.

    Raises:
        InvalidSettings: the file of certificate authorities cannot be read.
    """
    tls = httpx.create_ssl_context()
    if settings.ca_file is not None:
        try:
            tls.load_verify_locations(settings.ca_file)
        except (OSError, ssl.SSLError):
            raise InvalidSettings(
                f"sources.ca_file: {settings.ca_file} cannot be read as certificates in PEM form"
            ) from None
    private = tuple(ip_network(network) for network in settings.private_networks)
    return Web(tls, private, settings.max_wait_s)


def download(
    url: httpx.URL, target: Path, max_bytes: int, web: Web, hops: Hops, progress: FetchProgress
) -> None:
    """Write what is behind an address into a new file.

    Args:
        url: what :func:`parse_https` gives.
        target: the file.
        max_bytes: most bytes.
        web: how to get there.
        hops: where redirects may lead.
        progress: tells how far it is.

    Raises:
        SourceNotAllowed: it leads to where it may not.
        SourceNotFound: there is nothing, or it is not shown.
        SourceUnavailable: there is no answer, or a broken one.
        TooLarge: there is more than ``max_bytes``.
        JobCancelled: it was cancelled.
    """
    first = url
    backend = CheckedBackend(progress, web.resolve, web.private, _host(first))
    with httpcore.ConnectionPool(
        ssl_context=web.tls, network_backend=backend, max_connections=1, max_keepalive_connections=0
    ) as pool:
        for _ in range(_MAX_HOPS):
            progress.check()
            secret = hops.secret_headers if _origin(url) == _origin(first) else {}
            with _translated(), _asked(pool, url, secret, web.max_wait_s) as response:
                if response.status not in _REDIRECTS:
                    _check_status(response)
                    _save(response, target, max_bytes, progress)
                    return
                url = _next(url, response, first, hops)
    raise SourceUnavailable(f"the source redirects more than {_MAX_HOPS} times")


@contextmanager
def _asked(
    pool: httpcore.ConnectionPool, url: httpx.URL, secret: Mapping[str, str], wait_s: float
) -> Iterator[httpcore.Response]:
    """The answer to one request, its body unread. Only what is named here is sent."""
    # As it is stored: a decoder of ours would be one more thing that bombs go off in.
    headers: dict[bytes | str, bytes | str] = {
        "Host": url.netloc.decode("ascii"),
        "User-Agent": _USER_AGENT,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
    }
    headers.update(secret.items())
    target_url = httpcore.URL(
        scheme=b"https", host=url.raw_host, port=url.port, target=url.raw_path or b"/"
    )
    timeout = dict.fromkeys(("connect", "read", "write", "pool"), wait_s)
    with pool.stream(
        "GET", target_url, headers=headers, extensions={"timeout": timeout}
    ) as response:
        yield response


@contextmanager
def _translated() -> Iterator[None]:
    """The network's refusals, as ours."""
    try:
        yield
    except httpcore.ConnectTimeout:
        raise SourceUnavailable("the source does not answer") from None
    except httpcore.TimeoutException:
        raise SourceUnavailable("the source stopped answering") from None
    except httpcore.ConnectError as error:
        cause = error.__context__ or error
        reason = "its certificate is not trusted" if _is_distrust(cause) else "no connection"
        raise SourceUnavailable(f"the source cannot be reached: {reason}") from None
    except (httpcore.NetworkError, httpcore.ProtocolError):
        raise SourceUnavailable("the source's answer broke off, or is not HTTP") from None


def _is_distrust(error: BaseException) -> bool:
    return isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY" in str(error)


def _check_status(response: httpcore.Response) -> None:
    if response.status in _HIDDEN:
        raise SourceNotFound(f"the source has no such file, or does not show it: {response.status}")
    if response.status != HTTPStatus.OK:
        raise SourceUnavailable(f"the source answered {response.status}")


def _save(
    response: httpcore.Response, target: Path, max_bytes: int, progress: FetchProgress
) -> None:
    progress.expect(_length(response), max_bytes)
    left = max_bytes
    with target.open("xb") as file:
        for piece in response.iter_stream():
            left -= len(piece)
            if left < 0:
                raise TooLarge(f"the source has more than {max_bytes} bytes")
            file.write(piece)
            progress.came(len(piece))


def _length(response: httpcore.Response) -> int | None:
    header = _header(response, b"content-length")
    return int(header) if header is not None and header.isdecimal() else None


def _next(url: httpx.URL, response: httpcore.Response, first: httpx.URL, hops: Hops) -> httpx.URL:
    """Where a redirect leads, if it may.

    Raises:
        SourceNotAllowed: it may not.
    """
    header = _header(response, b"location")
    if header is None:
        raise SourceUnavailable("the source redirects to nowhere")
    try:
        target = parse_https(urljoin(str(url), header))
    except InvalidSource as error:
        raise SourceNotAllowed(f"a redirect of the source is refused: {error}") from None
    host, port = _origin(target)
    if _origin(target) == _origin(first):
        return target
    if not names_host(host, hops.hosts) or port not in hops.ports:
        raise SourceNotAllowed(
            f"the source redirects to {host}:{port}, which the settings do not allow",
            param="source",
        )
    return target


def _header(response: httpcore.Response, name: bytes) -> str | None:
    for given, value in response.headers:
        if given.lower() == name:
            return value.decode("latin-1").strip()
    return None


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")


def _origin(url: httpx.URL) -> tuple[str, int]:
    return _host(url), url.port or HTTPS_PORT
