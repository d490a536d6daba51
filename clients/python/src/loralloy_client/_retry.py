"""When a request is sent again, and after how long."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

from loralloy_client.errors import (
    APIError,
    ConnectionFailed,
    ConnectionLost,
    EngineUnavailable,
    LoralloyError,
    NotConnected,
)

_TRY_LATER = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_GATEWAY = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})
_MAX_DOUBLINGS = 32


class Repeat(Enum):
    """Whether doing a request twice does no harm."""

    NEVER = "never"
    UNLESS_SENT = "unless sent"
    """Only where the server has not begun: no connection, or 429 and 503."""
    SAFE = "safe"
    """Also where the connection broke before the answer began."""


@dataclass(frozen=True)
class Retries:
    """How patiently requests are repeated.

    Only what does no harm is repeated: never what timed out, and never a generation that has begun
    to stream. The first pause is ``first_s``, each further one twice as long, up to ``longest_s``;
    chance shortens each by up to half, so that clients do not come back all at once. Where the
    server says ``Retry-After``, that is the pause, but never more than ``longest_s``.

    Attributes:
        repeats: how many times a request is sent again; 0 turns repeating off.
    """

    repeats: int = 2
    first_s: float = 0.5
    longest_s: float = 30.0

    def __post_init__(self) -> None:
        if self.repeats < 0 or not 0 <= self.first_s <= self.longest_s:
            raise ValueError("repeats must be 0 or more, and 0 <= first_s <= longest_s")

    def pause(
        self, failure: LoralloyError, repeat: Repeat, *, tried: int, chance: float
    ) -> float | None:
        """Seconds until the request is sent again; None if it is not.

        Args:
            failure: how the last try ended.
            repeat: whether the request may be repeated.
            tried: how often it was sent, at least once.
            chance: a random number from 0 to 1.
        """
        if tried > self.repeats or not _may_repeat(failure, repeat):
            return None
        if failure.retry_after is not None:
            return min(failure.retry_after, self.longest_s)
        doubled = self.first_s * 2.0 ** min(tried - 1, _MAX_DOUBLINGS)
        return min(doubled, self.longest_s) * (1 - chance / 2)


def _may_repeat(failure: LoralloyError, repeat: Repeat) -> bool:
    if repeat is Repeat.NEVER:
        return False
    if isinstance(failure, NotConnected):
        return True
    if isinstance(failure, ConnectionLost):
        return repeat is Repeat.SAFE
    return isinstance(failure, APIError) and failure.status in _TRY_LATER


def may_become_ready(failure: LoralloyError) -> bool:
    """Whether a server that failed like this, when asked if it is ready, may just be starting."""
    if isinstance(failure, EngineUnavailable):
        return False
    if isinstance(failure, APIError):
        return failure.status in _TRY_LATER | _GATEWAY
    return isinstance(failure, ConnectionFailed)
