"""Long work that keeps a processor busy: done beside the event loop, callers taking turns.

One thread does one piece after another; whose piece is next goes round the callers that have any.
So a caller with a thousand long texts holds another's short one up by a single piece.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_caller: ContextVar[str] = ContextVar("caller_whose_turn_it_is", default="")


@contextmanager
def working_for(caller: str) -> Iterator[None]:
    """Let what is handed over within the block be a caller's.

    Args:
        caller: its opaque name; empty without keys.
    """
    token = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(token)


class TurnsExecutor(Executor):
    """An executor of one thread, in which callers take turns."""

    def __init__(self, name: str) -> None:
        self._waiting: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Do it when the caller's turn comes; what is cancelled before is not done."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
                future.set_exception(error)

        with self._changed:
            if self._ended:
                raise RuntimeError("nothing more is taken: the executor has ended")
            self._waiting.setdefault(_caller.get(), deque()).append(run)
            self._changed.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more; what waits is still done, unless it is to be dropped."""
        with self._changed:
            self._ended = True
            if cancel_futures:
                self._waiting.clear()
            self._changed.notify()
        if wait:
            self._thread.join()

    def _work(self) -> None:
        while (run := self._next()) is not None:
            run()

    def _next(self) -> Callable[[], None] | None:
        """The next caller's first piece; None after the end."""
        with self._changed:
            while not self._waiting:
                if self._ended:
                    return None
                self._changed.wait()
            caller, pieces = self._waiting.popitem(last=False)
            run = pieces.popleft()
            if pieces:
                self._waiting[caller] = pieces  # behind all others
            return run
