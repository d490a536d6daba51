"""How weighings come from the workers to the server: a socket beside vLLM's own.

vLLM's outputs have no room for them, and a call to the workers would stall every request. A worker
pushes a step's weighings before the forward pass that uses them, so that they arrive before the
tokens do: all of them in one message, which wakes the server once.
"""

import logging
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Final

import msgspec
import zmq

from server.engine.messages import AdapterWeights, Weighing

logger = logging.getLogger(__name__)

Sink = Callable[[int, int, AdapterWeights], None]
"""Called with the choice's number among a request's ``n``, the weighing's number and its result."""

MAX_PENDING: Final = 100_000
"""Steps that wait for a server that is behind; more are dropped, and traces have gaps."""

_CHILD = re.compile(r"(\d+)_")
"""vLLM names the requests that one with ``n`` above 1 becomes ``0_…``, ``1_…``."""


class TraceSender:
    """A worker's end.

    Attributes:
        dropped: weighings that were lost because the server was too far behind.
    """

    def __init__(self, address: str) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
        self._socket.setsockopt(zmq.SNDHWM, MAX_PENDING)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(address)
        self.dropped = 0

    def send(self, weighings: Sequence[Weighing]) -> None:
        """Send the weighings of a step; never waits."""
        try:
            self._socket.send(msgspec.msgpack.encode(weighings), zmq.NOBLOCK)
        except zmq.Again:
            self.dropped += len(weighings)


class TraceReceiver:
    """The server's end: a thread that hands weighings to whoever opened their trace.

    Attributes:
        address: where the workers connect; a socket that this user alone can reach.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="loralloy-")
        self.address = f"ipc://{Path(self._folder.name) / 'traces'}"
        self._sinks: dict[str, Sink] = {}
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.PULL)
        self._socket.setsockopt(zmq.RCVHWM, MAX_PENDING)
        self._socket.bind(self.address)
        Thread(target=self._run, name="traces", daemon=True).start()

    @property
    def open_traces(self) -> int:
        """Requests whose weighings are listened to now."""
        return len(self._sinks)

    def listens(self, trace: str) -> bool:
        """Whether a trace is open."""
        return trace in self._sinks

    @contextmanager
    def open(self, trace: str, sink: Sink) -> Iterator[None]:
        """Hand a trace's weighings to ``sink``, in a thread of its own, while the context lasts."""
        self._sinks[trace] = sink
        try:
            yield
        finally:
            del self._sinks[trace]

    def close(self) -> None:
        """End the thread and remove the socket."""
        self._context.term()  # the thread notices, and closes its socket
        self._folder.cleanup()

    def _run(self) -> None:
        decoder = msgspec.msgpack.Decoder(list[Weighing])
        while True:
            try:
                raw = self._socket.recv()
            except zmq.ContextTerminated:
                self._socket.close(linger=0)
                return
            for weighing in decoder.decode(raw):
                self._hand_on(weighing)

    def _hand_on(self, weighing: Weighing) -> None:
        sink = self._sinks.get(weighing.trace)
        if sink is None:
            return  # its request has ended
        child = _CHILD.match(weighing.request)
        try:
            sink(int(child[1]) if child else 0, weighing.number, weighing.weights)
        except ValueError:
            logger.exception("a weighing of request %s could not be recorded", weighing.trace)
