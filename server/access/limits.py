"""How many requests a caller may send, and how many may run at once."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from server.access.keys import Caller
from server.errors import RateLimited, TooManyConcurrent

_MINUTE_S = 60.0
_SWEPT_AT = 1024


@dataclass(slots=True)
class Bucket:
    """A token bucket: full at first, refilled steadily, one token a request.

    Attributes:
        size: tokens when full, which is also what a minute brings.
        tokens: tokens in it.
        at: when that was, in seconds.
    """

    size: int
    tokens: float
    at: float

    def take(self, now: float) -> float:
        """Take a token; 0, or the seconds until there is one."""
        self.tokens = min(self.size, self.tokens + (now - self.at) * self.size / _MINUTE_S)
        self.at = now
        if self.tokens < 1:
            return (1 - self.tokens) * _MINUTE_S / self.size
        self.tokens -= 1
        return 0.0


class Limiter:
    """Buckets and running requests by caller. For one event loop.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._running: dict[str, int] = {}
        self._refused = 0

    @property
    def running(self) -> int:
        """Requests that are being served, of all callers."""
        return sum(self._running.values())

    @property
    def refused(self) -> int:
        """Requests that were refused since the start."""
        return self._refused

    @contextmanager
    def holding(self, caller: Caller) -> Iterator[None]:
        """Count a request of a caller as running for the length of the block.

        Raises:
            RateLimited: it has sent too many lately.
            TooManyConcurrent: too many of its requests run.
        """
        self._take_token(caller)
        most, running = caller.quota.max_concurrent, self._running.get(caller.id, 0)
        if most is not None and running >= most:
            self._refused += 1
            raise TooManyConcurrent(
                f"{running} requests of this API key run already, which is its limit; wait for "
                "one of them to end",
                retry_after=1,
            )
        self._running[caller.id] = running + 1
        try:
            yield
        finally:
            self._running[caller.id] -= 1
            if not self._running[caller.id]:
                del self._running[caller.id]

    def _take_token(self, caller: Caller) -> None:
        size = caller.quota.requests_per_minute
        if size is None:
            return
        now = self._clock()
        bucket = self._buckets.get(caller.id)
        if bucket is None or bucket.size != size:
            self._sweep(now)
            bucket = self._buckets[caller.id] = Bucket(size, size, now)
        wait = bucket.take(now)
        if wait:
            self._refused += 1
            raise RateLimited(
                f"this API key may send {size} requests a minute; wait until the next one",
                retry_after=math.ceil(wait),
            )

    def _sweep(self, now: float) -> None:
        """Forget buckets that are full again, so that keys that are gone leave nothing behind."""
        if len(self._buckets) >= _SWEPT_AT:
            kept = {id_: one for id_, one in self._buckets.items() if now - one.at < _MINUTE_S}
            self._buckets = kept
