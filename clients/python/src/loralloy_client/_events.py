"""Server-sent events: from the bytes of a stream to its typed chunks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Generic, TypeVar

from loralloy_client._replies import error_in_stream, parsed, record_of
from loralloy_client.errors import StreamBroken
from loralloy_client.generations import Chunk

C = TypeVar("C", bound=Chunk)

_DONE = "[DONE]"
# A carriage return at the very end may be the first half of a line's end.
_LINE_END = re.compile(rb"\r\n|\n|\r(?=[^\n])")


class EventReader:
    """Cuts a stream into the data of its events, wherever the pieces break."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[str]:
        """The data of every event that the piece completes."""
        *lines, self._rest = _LINE_END.split(self._rest + piece)
        for line in lines:
            if line:
                self._take(line.decode("utf-8", "replace"))
            elif self._data:
                data, self._data = "\n".join(self._data), []
                yield data

    def _take(self, line: str) -> None:
        """Keep a line of data; comments and other fields say nothing here."""
        field, _, value = line.partition(":")
        if field == "data":
            self._data.append(value.removeprefix(" "))


class ChunkReader(Generic[C]):
    """Reads the chunks of one answer.

    Args:
        kind: what they are.
        request_id: of the request that each of them answers.
    """

    def __init__(self, kind: type[C], request_id: str | None) -> None:
        self._kind = kind
        self._request_id = request_id
        self._events = EventReader()
        self._is_complete = False

    def feed(self, piece: bytes) -> Iterator[C]:
        """The chunks that a piece completes.

        Raises:
            APIError: the server broke the answer off.
            UnexpectedAnswer: an event is no chunk.
        """
        for data in self._events.feed(piece):
            if data == _DONE:
                self._is_complete = True
                continue
            event = parsed(data)
            if isinstance(event, dict) and "error" in event:
                raise error_in_stream(event["error"], self._request_id)
            yield record_of(self._kind, event, self._request_id)

    def end(self) -> None:
        """The stream has ended.

        Raises:
            StreamBroken: it was not complete.
        """
        if not self._is_complete:
            raise StreamBroken("the stream ended before its end", request_id=self._request_id)
