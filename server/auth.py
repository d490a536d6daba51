"""The outermost layer: who may call, with how large a body, under which request id.

Deny by default: with API keys every path but the two health checks needs one, whatever the Host
header or the path's beginning says. Headers by which a client could steer vLLM's scheduler are
taken out here.
"""

import hashlib
import hmac
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.envelope import error_response
from server.errors import BodyTooLarge, CrossOrigin, ServerError, Unauthorized
from server.settings import LimitSettings

OPEN_PATHS = frozenset({"/health", "/ready"})
UPLOAD_PATHS = frozenset({"/v1/adapters"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_STRIPPED = frozenset(
    {b"x-data-parallel-rank", b"x-vllm-priority", b"x-session-id", b"x-request-id"}
)
_LENGTH_DIGITS = 18
_REPLACED = re.compile(r"/v1/adapters/[^/]+")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Keys:
    """The API keys, as digests; comparing one takes the same time whether and where it differs."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def tenant(self, header: str | None) -> str:
        """The opaque name of the key's owner; "" without keys.

        Args:
            header: the Authorization header.

        Raises:
            Unauthorized: there are keys, and the header holds none of them.
        """
        if not self._digests:
            return ""
        scheme, _, key = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthorized("an API key is needed: send the header 'Authorization: Bearer KEY'")
        digest = _digest(key.strip())
        known = [hmac.compare_digest(digest, other) for other in self._digests]
        if not any(known):
            raise Unauthorized("the API key is not known to this server")
        return digest.hex()[:16]


class Guard:
    """Pure ASGI: authenticate, cap the body, clean the headers, name the request.

    Leaves ``tenant`` and ``request_id`` in the request's state.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[str], limits: LimitSettings) -> None:
        self._app = app
        self._keys = Keys(keys)
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers.get("x-request-id"))
        body = _CappedBody(receive, send, self._limit(scope), request_id)
        try:
            tenant = self._admit(scope, headers)
            body.check_announced(headers.get("content-length"))
        except ServerError as error:
            await error_response(error)(scope, receive, body.send_named)
            return
        cleaned = [(name, value) for name, value in scope["headers"] if name not in _STRIPPED]
        state = {**scope.get("state", {}), "tenant": tenant, "request_id": request_id}
        await self._app({**scope, "headers": cleaned, "state": state}, body.receive, body.send)

    def _admit(self, scope: Scope, headers: Mapping[str, str]) -> str:
        if scope["path"] in OPEN_PATHS and scope["method"] in _SAFE_METHODS:
            return ""
        if not self._keys and scope["method"] not in _SAFE_METHODS:
            _refuse_foreign_pages(headers.get("origin"))
        return self._keys.tenant(headers.get("authorization"))

    def _limit(self, scope: Scope) -> int:
        is_upload = scope["path"] in UPLOAD_PATHS or (
            scope["method"] == "PUT" and _REPLACED.fullmatch(scope["path"]) is not None
        )
        return self._limits.max_upload_bytes if is_upload else self._limits.max_body_bytes


class _CappedBody:
    """One request's body and answer: counts what comes in, and answers 413 when it is too much.

    A body of unknown length is only found out while some route reads it, and the route's own
    reaction to the broken read must not reach the client: the answer is replaced.
    """

    def __init__(self, receive: Receive, send: Send, limit: int, request_id: str) -> None:
        self._receive = receive
        self._send = send
        self._limit = limit
        self._request_id = request_id
        self._seen = 0
        self._refused = False
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
        message = await self._receive()
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            if self._seen > self._limit:
                self._refused = True
                raise self._error()
        return message

    async def send(self, message: Message) -> None:
        """The next piece of the answer; all of it is replaced once the body was refused."""
        if self._refused and not self._started:
            self._started = self._replaced = True
            await error_response(self._error())({"type": "http"}, self._receive, self.send_named)
        if self._replaced:
            return
        self._started = self._started or message["type"] == "http.response.start"
        await self.send_named(message)

    async def send_named(self, message: Message) -> None:
        """Send with the request's id in the headers."""
        if message["type"] == "http.response.start":
            message.setdefault("headers", [])
            MutableHeaders(scope=message)["X-Request-Id"] = self._request_id
        await self._send(message)

    def _error(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body is larger than {self._limit} bytes, the most taken here")


def _refuse_foreign_pages(origin: str | None) -> None:
    """Without keys, a page on the web must not reach the server through its reader's browser."""
    if origin is not None and urlsplit(origin).hostname not in _LOOPBACK_NAMES:
        raise CrossOrigin(
            "a web page of another origin cannot use a server without API keys; start it with "
            "--api-key and call it from your own backend"
        )


def _request_id(given: str | None) -> str:
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return uuid.uuid4().hex


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
