"""What all traces of a server share: one lock, and how many steps they may hold together."""

from collections.abc import Callable
from threading import Lock

from server.traces.settings import TraceSettings


class TraceBudget:
    """The steps in memory, of every recording. Whoever calls a method holds the lock.

    Args:
        limits: the most steps of one trace, and of all.
        make_room: forgets the steps of a trace that may go, and gives them back; False if there is
            none.

    Attributes:
        lock: guards the budget, and everything that counts by it.
        limits: as they were given.
        steps: steps of all traces.
    """

    def __init__(self, limits: TraceSettings, make_room: Callable[[], bool]) -> None:
        self.lock = Lock()
        self.limits = limits
        self.steps = 0
        self._make_room = make_room

    def take(self, size: int) -> bool:
        """Count one more step of a trace that holds ``size``; False if there is no room for it."""
        if size >= self.limits.max_trace_steps:
            return False
        while self.steps >= self.limits.max_steps:
            if not self._make_room():
                return False
        self.steps += 1
        return True

    def give_back(self, steps: int) -> None:
        """Count steps no more that have been forgotten."""
        self.steps -= steps
