"""Connections that only go where they may.

The name is looked up once, its addresses are checked, and the connection is made to a checked
address; TLS still proves the host's name. A name that is looked up a second time may lead
elsewhere (DNS rebinding); here nothing does so.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpcore

from server.errors import SourceAddressRefused, SourceUnavailable
from server.sources.progress import FetchProgress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Sequence[str]]
"""Host and port → its addresses."""

_SLICE_S = 0.2
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def look_up(host: str, port: int) -> list[str]:
    """The addresses of a host, by the machine's resolver.

    Raises:
        OSError: there are none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: Address) -> bool:
    """Whether an address is one of the open internet, also where it carries another one inside."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for."""
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


class CheckedBackend(httpcore.NetworkBackend):
    """Connects for one fetch.

    Args:
        progress: the fetch.
        resolve: how names are looked up.
        private: networks that may be connected to although they are not public.
        private_host: the only host for which they may be; redirects to others get none.
    """

    def __init__(
        self,
        progress: FetchProgress,
        resolve: Resolver,
        private: Sequence[Network],
        private_host: str,
    ) -> None:
        self._progress = progress
        self._resolve = resolve
        self._private = private
        self._private_host = private_host
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to a host; its first address that answers is taken."""
        failure: Exception | None = None
        for address in self._checked(host, port):
            self._progress.check()
            wait = self._progress.left_s(timeout or _SLICE_S)
            try:
                stream = self._plain.connect_tcp(address, port, wait, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _MeasuredStream(stream, self._progress)
        raise failure or httpcore.ConnectError("the name has no address")

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Nobody asks for one."""
        raise httpcore.ConnectError("unix sockets are not connected to")

    def _checked(self, host: str, port: int) -> list[str]:
        """Every address of a host; one that is forbidden forbids the host.

        Raises:
            SourceAddressRefused: one of them is not public.
            SourceUnavailable: it has none.
        """
        try:
            found = [ipaddress.ip_address(text) for text in self._resolve(host, port)]
        except (OSError, ValueError, UnicodeError):
            raise SourceUnavailable(f"the host {host} has no address") from None
        self._progress.check()
        for address in found:
            if not self._may(host, address):
                raise SourceAddressRefused(
                    f"the host {host} leads to an address that is not public; nothing is fetched "
                    "from there",
                    param="source",
                )
        return [str(address) for address in found]

    def _may(self, host: str, address: Address) -> bool:
        if is_public(address):
            return True
        return host == self._private_host and any(address in network for network in self._private)


class _MeasuredStream(httpcore.NetworkStream):
    """A connection whose waits end soon after the fetch was cancelled, or took too long."""

    def __init__(self, inner: httpcore.NetworkStream, progress: FetchProgress) -> None:
        self._inner = inner
        self._progress = progress

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        end = time.monotonic() + (timeout or _SLICE_S)
        while True:
            self._progress.check()
            try:
                return self._inner.read(max_bytes, _SLICE_S)
            except httpcore.ReadTimeout:
                if time.monotonic() > end:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._progress.check()
        self._inner.write(buffer, self._progress.left_s(timeout or _SLICE_S))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        wait = self._progress.left_s(timeout or _SLICE_S)
        return _MeasuredStream(
            self._inner.start_tls(ssl_context, server_hostname, wait), self._progress
        )

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore has it
        return self._inner.get_extra_info(info)
