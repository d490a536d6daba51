"""vLLM's answer on its way out, with the mixture added; ends the trace when it has ended."""

from collections.abc import Mapping
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from server.generation.report import Report
from server.traces.applied import HEADER
from server.traces.recording import Recording


class Answer:
    """vLLM's answer on its way out: the mixture is added to header, body and chunks.

    Attributes:
        streaming: whether a stream has begun and not ended.
    """

    def __init__(self, report: Report, send: Send) -> None:
        self._report = report
        self._send = send
        self._start: Message | None = None
        self._body = b""
        self.streaming = False
        self._is_whole = False

    async def send(self, message: Message) -> None:
        """Pass a piece on: a stream at once, a JSON body when it is whole."""
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] != "http.response.body":
            await self._send(message)
        elif self.streaming:
            await self._stream(message)
        else:
            await self._collect(message)

    async def break_off(self, refusal: Mapping[str, object] | None = None) -> None:
        """End a stream that has failed, with what vLLM says if the request is at fault."""
        failed = self._report.broken_off(refusal)
        await self._send({"type": "http.response.body", "body": failed, "more_body": False})
        self.streaming = False

    def close(self, recording: Recording) -> None:
        """End the trace: of an answer that did not come to its end nobody will ask for it."""
        if self._is_whole:
            recording.finish()
        else:
            recording.discard()

    async def _begin(self, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        if message["status"] == HTTPStatus.OK:
            headers[HEADER] = self._report.header
        if headers.get("content-type", "").startswith("text/event-stream"):
            self.streaming = True
            await self._send(message)
        else:
            self._start = message

    async def _stream(self, message: Message) -> None:
        more = message.get("more_body", False)
        piece = self._report.in_stream(message.get("body", b""))
        if not more:
            piece += self._report.rest()
            self.streaming = False
        if piece or not more:
            await self._send({**message, "body": piece})
        self._is_whole = not more

    async def _collect(self, message: Message) -> None:
        self._body += message.get("body", b"")
        if message.get("more_body", False) or self._start is None:
            return
        body = self._body
        if self._start["status"] == HTTPStatus.OK:
            body = self._report.in_body(body)
        MutableHeaders(scope=self._start)["content-length"] = str(len(body))
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        self._is_whole = self._start["status"] == HTTPStatus.OK
