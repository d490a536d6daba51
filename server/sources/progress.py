"""What a fetch tells while it runs, and hears: how far it is, and that it is to stop."""

import math
import threading
import time

from adapters.errors import TooLarge
from server.errors import JobCancelled, SourceTooSlow


class FetchProgress:
    """One fetch, seen from outside. Thread-safe.

    Args:
        max_s: seconds that it may take once it has begun.

    Attributes:
        bytes_done: bytes that have come.
        bytes_total: bytes that will have come, or None as long as nobody knows.
    """

    def __init__(self, max_s: float) -> None:
        self.bytes_done = 0
        self.bytes_total: int | None = None
        self._end = math.inf
        self._max_s = max_s
        self._cancelled = threading.Event()

    def begin(self) -> None:
        """Count its time from now on."""
        self._end = time.monotonic() + self._max_s

    def cancel(self) -> None:
        """Stop at the next opportunity, a fraction of a second away while it waits for bytes."""
        self._cancelled.set()

    async def still_wanted(self) -> None:
        """Go on with what comes after the fetch, whose time it is not.

        Raises:
            JobCancelled: nobody wants it.
        """
        if self._cancelled.is_set():
            raise JobCancelled("the job was cancelled")

    def check(self) -> None:
        """Go on only if that is wanted.

        Raises:
            JobCancelled: it is not.
            SourceTooSlow: it has taken too long.
        """
        if self._cancelled.is_set():
            raise JobCancelled("the job was cancelled")
        if time.monotonic() > self._end:
            raise SourceTooSlow(f"the adapter was not fetched in {self._max_s:g} seconds")

    def left_s(self, wanted: float) -> float:
        """So many seconds, or what is left of the time."""
        return max(0.001, min(wanted, self._end - time.monotonic()))

    def expect(self, size: int | None, limit: int) -> None:
        """So many more bytes will come, as far as the source says.

        Raises:
            TooLarge: more than the limit.
        """
        if size is not None and size > limit:
            raise TooLarge(f"the source has {size} bytes; at most {limit} are taken")
        if size is not None:
            self.bytes_total = (self.bytes_total or 0) + size

    def came(self, size: int) -> None:
        """So many bytes have come.

        Raises:
            JobCancelled, SourceTooSlow: as :meth:`check`.
        """
        self.bytes_done += size
        self.check()
