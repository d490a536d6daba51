"""Where the server is and how it is spoken to: arguments first, then the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

import httpx

from loralloy_client._version import __version__

DEFAULT_URL = "http://127.0.0.1:8000"
URL_VARIABLE, KEY_VARIABLE = "LORALLOY_URL", "LORALLOY_API_KEY"
TIMEOUT_S = 600.0
CONNECT_S = 5.0
_SCHEMES = ("http", "https")


@dataclass(frozen=True)
class Config:
    """A server's address, and the headers of every request to it."""

    url: str
    headers: dict[str, str]

    @classmethod
    def of(cls, base_url: str | None, api_key: str | None) -> Config:
        """Read what the arguments leave open from the environment.

        Raises:
            ValueError: the address is none of HTTP.
        """
        given = base_url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
        key = api_key or os.environ.get(KEY_VARIABLE)
        headers = {"User-Agent": f"loralloy-client/{__version__}", "Accept": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return cls(_checked(given), headers)


def _checked(url: str) -> str:
    """The address without a slash or ``/v1`` at its end, which OpenAI's clients want."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r} is no address of a server: {error}") from None
    if parsed.scheme not in _SCHEMES or not parsed.host:
        raise ValueError(f"{url!r} is no address of a server; it must be like {DEFAULT_URL}")
    return url.rstrip("/").removesuffix("/v1")


def timeouts(seconds: float | None, *, default: float | None) -> httpx.Timeout:
    """The time that one read or write may take; connecting gets a few seconds at most.

    Args:
        seconds: what the request says, or None if it says nothing.
        default: what the client says; None waits for ever.
    """
    each = default if seconds is None else seconds
    return httpx.Timeout(each, connect=CONNECT_S if each is None else min(each, CONNECT_S))
