"""A request's body on its way in: how much of it is taken, and how long it is waited for."""

import asyncio

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Send

from server.edge.errors.error_status import error_response
from server.edge.settings import LimitSettings
from server.errors import BodyTooLarge, BodyTooSlow, ServerError

_LENGTH_DIGITS = 18


class GuardedBody:
    """One request's body and answer: refuses a body that is too much, or comes too slowly.

    Either is only found out while some route reads it, and the route's own reaction to the broken
    read must not reach the client: the answer is replaced.

    Args:
        receive: the request's.
        send: the request's.
        request_id: what every answer says in its headers.
        limit: most bytes.
        limits: how long the body may be waited for.
    """

    def __init__(
        self, receive: Receive, send: Send, request_id: str, limit: int, limits: LimitSettings
    ) -> None:
        self._receive = receive
        self._send = send
        self._request_id = request_id
        self._limit = limit
        self._limits = limits
        self._received = 0
        self._waited = 0.0
        self._is_whole = False
        self._refusal: ServerError | None = None
        self._started = False
        self._replaced = False

    def check_announced(self, length: str | None) -> None:
        """Refuse by Content-Length alone, before a byte is read."""
        if length is None:
            return
        digits = length.strip()
        if not digits.isascii() or not digits.isdecimal() or len(digits) > _LENGTH_DIGITS:
            raise self._error()
        if int(digits) > self._limit:
            raise self._error()

    async def receive(self) -> Message:
        """The next piece of the body."""
        if self._is_whole:
            return await self._receive()
        message = await self._awaited()
        if message["type"] == "http.request":
            self._is_whole = not message.get("more_body", False)
            self._received += len(message.get("body", b""))
            if self._received > self._limit:
                raise self.refuse(self._error())
        return message

    async def _awaited(self) -> Message:
        """The next piece, if it comes in time; only the client's own slowness counts."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        allowed = self._limits.max_body_wait_s + self._received / self._limits.min_body_rate
        try:
            async with asyncio.timeout(max(0.0, allowed - self._waited)):
                return await self._receive()
        except TimeoutError:
            raise self.refuse(
                BodyTooSlow(
                    f"the body came too slowly: only {self._received} bytes arrived in time"
                )
            ) from None
        finally:
            self._waited += loop.time() - began

    async def send(self, message: Message) -> None:
        """The next piece of the answer; all of it is replaced once the body was refused."""
        if self._refusal is not None and not self._started:
            self._started = self._replaced = True
            await error_response(self._refusal)({"type": "http"}, self._receive, self.send_named)
        if self._replaced:
            return
        self._started = self._started or message["type"] == "http.response.start"
        await self.send_named(message)

    async def send_named(self, message: Message) -> None:
        """Send with the request's id in the headers."""
        if message["type"] == "http.response.start":
            message.setdefault("headers", [])
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            if isinstance(self._refusal, BodyTooSlow):
                headers["Connection"] = "close"  # what still drips in holds nothing any more
        await self._send(message)

    def refuse(self, error: ServerError) -> ServerError:
        """Answer with an error, whatever the route makes of it; to be raised by whoever says so."""
        self._refusal = error
        return error

    def _error(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body is larger than {self._limit} bytes, the most that this route takes"
        )
