"""The outermost layer: who may call what, how often, with how large a body, under which request id.

Deny by default: with API keys every path but the two health checks needs one, whatever the Host
header or the path's beginning says, and what a key allows is decided by the route that will serve
the request (``server.access.rights``). Headers by which a client could steer vLLM's scheduler are
taken out here.
"""

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from server.access.authentication import Callers
from server.access.keys import AdapterRule, Caller
from server.access.limits import Limiter
from server.access.rights import GRANTED, Right, required
from server.edge.body_limits import GuardedBody
from server.edge.error_status import error_response
from server.edge.settings import LimitSettings
from server.errors import ActionDenied, CrossOrigin, ServerError

UPLOAD_PATHS = frozenset({"/v1/adapters"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_STRIPPED = frozenset(
    {b"x-data-parallel-rank", b"x-vllm-priority", b"x-session-id", b"x-request-id"}
)
_REPLACED = re.compile(r"/v1/adapters/[^/]+")
STRANGER = Caller(role="metrics", visible=AdapterRule(()))
"""Whoever asks whether the server is well: no key was looked at."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Guard:
    """Pure ASGI: authenticate, cap the body, clean the headers, name the request.

    Leaves ``caller``, ``tenant`` and ``request_id`` in the request's state.

    Args:
        app: what is guarded.
        callers: who holds which key.
        limiter: how much each may ask for.
        limits: how large bodies may be.
        routes: the routes that requests will be matched against, in their order.
    """

    def __init__(
        self,
        app: ASGIApp,
        callers: Callers,
        limiter: Limiter,
        limits: LimitSettings,
        routes: Callable[[], Iterable[BaseRoute]],
    ) -> None:
        self._app = app
        self._callers = callers
        self._limiter = limiter
        self._limits = limits
        self._routes = routes

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
        body = GuardedBody(receive, send, request_id, self._limit(scope), self._limits)
        with ExitStack() as held:
            try:
                caller = self._admit(scope, headers, held)
                body.check_announced(headers.get("content-length"))
            except ServerError as error:
                await error_response(error)(scope, receive, body.send_named)
                return
            state = {
                **scope.get("state", {}),
                "caller": caller,
                "tenant": caller.id,
                "request_id": request_id,
            }
            cleaned = [(name, value) for name, value in scope["headers"] if name not in _STRIPPED]
            await self._app({**scope, "headers": cleaned, "state": state}, body.receive, body.send)

    def _admit(self, scope: Scope, headers: Mapping[str, str], held: ExitStack) -> Caller:
        """Who calls, if it may; its place among its running requests is held from now on."""
        needed = required(scope, self._routes())
        if needed is Right.NOTHING:
            return STRANGER
        if not self._callers.needs_key and scope["method"] not in _SAFE_METHODS:
            _refuse_foreign_pages(headers.get("origin"))
        caller = self._callers.identify(headers.get("authorization"))
        held.enter_context(self._limiter.holding(caller))
        if needed not in GRANTED[caller.role]:
            raise ActionDenied(
                f"an API key of role {caller.role!r} does not allow {scope['method']} on this path"
            )
        return caller

    def _limit(self, scope: Scope) -> int:
        is_upload = scope["path"] in UPLOAD_PATHS or (
            scope["method"] == "PUT" and _REPLACED.fullmatch(scope["path"]) is not None
        )
        return self._limits.max_upload_bytes if is_upload else self._limits.max_body_bytes


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
