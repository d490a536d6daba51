"""Keeps the traces of running requests, and those of finished ones for a while.

    begin → add … add → finish      the answer has ended, and its trace can be asked for
                      └→ discard    nobody is left who could

Memory is bounded whatever clients do: finished traces leave when they are old, and oldest first
when there are too many traces or steps. A request owns its recording, so that two requests
under one id never mix; the id stands for the one that began last. An answer's own id stands for
one recording only.
"""

import time
from collections.abc import Callable, Sequence

from adapters.errors import shown
from server.errors import TraceNotFound
from server.traces.budget import TraceBudget
from server.traces.recording import Recording
from server.traces.settings import TraceSettings
from server.traces.trace import Trace, TraceHead, TraceStep


class TraceStore:
    """All traces of a server. Thread-safe.

    Args:
        limits: how many are kept, and for how long.
        clock: seconds that only grow.
    """

    def __init__(
        self, limits: TraceSettings | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits or TraceSettings()
        self._budget = TraceBudget(self._limits, self._forget_oldest)
        self._clock = clock
        self._running: dict[Recording, None] = {}
        self._finished: dict[Recording, None] = {}
        self._named: dict[tuple[str, str], Recording] = {}
        self._answers: dict[tuple[str, str], Recording] = {}

    def begin(self, tenant: str, head: TraceHead, first: Sequence[TraceStep]) -> Recording:
        """Begin a trace; whoever began it finishes or discards it.

        Args:
            tenant: whose it is.
            head: what is known beforehand.
            first: each prompt's mixture at token 0, at least one.
        """
        recording = Recording(self._budget, self, tenant, head, first)
        with self._budget.lock:
            self._expire()
            while self._count >= self._limits.max_traces and self._forget_oldest():
                pass
            if self._count < self._limits.max_traces:
                self._running[recording] = None
                self._named[recording.key] = recording
                self._answers[recording.answer_key] = recording
            else:
                recording.truncated = True
        return recording

    def get(self, tenant: str, given: str) -> Trace:
        """A trace, finished or not.

        Args:
            tenant: whose it is.
            given: the request's id, or the answer's.

        Raises:
            TraceNotFound: the tenant has none under that id.
        """
        with self._budget.lock:
            self._expire()
            key = (tenant, given)
            recording = self._named.get(key) or self._answers.get(key)
            if recording is not None:
                return recording.snapshot()
        raise TraceNotFound(
            f"there is no trace of a request {shown(given)}; traces are made where the scope "
            f"is 'token' or 'recompute', and kept for {self._limits.keep_s:g} s at most"
        )

    def finish(self, recording: Recording) -> None:
        """Keep a trace whose answer has ended, until it is old or room is needed."""
        with self._budget.lock:
            if recording not in self._running:
                return
            del self._running[recording]
            recording.trim()
            recording.ended = self._clock()
            self._finished[recording] = None
            self._expire()

    def discard(self, recording: Recording) -> None:
        """Forget a trace, finished or not."""
        with self._budget.lock:
            if recording in self._running:
                del self._running[recording]
                self._budget.give_back(recording.size)
                recording.ended = self._clock()
                self._unname(recording)
            elif recording in self._finished:
                self._forget(recording)

    @property
    def traces(self) -> int:
        """Traces in memory, running or kept."""
        with self._budget.lock:
            self._expire()
            return self._count

    @property
    def running(self) -> int:
        """Traces whose answer is being made."""
        return len(self._running)

    @property
    def steps(self) -> int:
        """Steps of all traces."""
        with self._budget.lock:
            self._expire()
            return self._budget.steps

    @property
    def _count(self) -> int:
        return len(self._running) + len(self._finished)

    def _expire(self) -> None:
        """Forget what is old; traces lie in the order in which they finished."""
        limit = self._clock() - self._limits.keep_s
        while self._finished:
            ended = next(iter(self._finished)).ended
            if ended is None or ended > limit:
                return
            self._forget_oldest()

    def _forget_oldest(self) -> bool:
        """Forget the finished trace that is oldest; False if there is none."""
        if not self._finished:
            return False
        self._forget(next(iter(self._finished)))
        return True

    def _forget(self, finished: Recording) -> None:
        del self._finished[finished]
        self._budget.give_back(finished.size)
        self._unname(finished)

    def _unname(self, recording: Recording) -> None:
        self._answers.pop(recording.answer_key, None)
        if self._named.get(recording.key) is recording:
            del self._named[recording.key]
