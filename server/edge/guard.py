"""The outermost layer: who may call what, how often, with how large a body, under which request id.

Deny by default: with API keys every path but the two health checks needs one, whatever the Host
header or the path's beginning says, and what a key allows is decided by the route that will serve
the request (``server.access.matched_route``), as everything further in is. Of a request's headers
the few go on that a route reads: vLLM's read some by which a client could steer its scheduler or
hear of the engine's load, and the next release may read others.
"""

import re
import uuid
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.limits import Limits
from server.access.authentication import Callers
from server.access.keys import AdapterRule, Caller
from server.access.limits import Limiter
from server.access.matched_route import STATE_KEY, MatchedRoute, is_plain, match_route
from server.access.rights import GRANTED, Right, required
from server.access.turns import working_for
from server.edge.body.body_limits import GuardedBody
from server.edge.body.content_encoding import Unpacked, content_encoding
from server.edge.errors.error_status import error_response
from server.edge.settings import LimitSettings
from server.engine.client.plan import without_plan
from server.errors import ActionDenied, CrossOrigin, InvalidRequest, NotFound, ServerError

UPLOADS: Final = frozenset(
    {MatchedRoute("POST", "/v1/adapters"), MatchedRoute("PUT", "/v1/adapters/{name}")}
)
ROUTING_DATA: Final = frozenset(
    {MatchedRoute("PATCH", "/v1/adapters/{name}"), MatchedRoute("POST", "/v1/imports")}
)
"""What takes routing data, which have a bound of their own, in a form or with escapes."""

_ROUTING_BYTES: Final = 2 * Limits().max_routing_bytes

PASSED_HEADERS: Final = frozenset({b"content-type", b"content-length", b"if-match"})
"""What routes, ours and vLLM's, are shown of a request's headers, whoever sends it."""

_SINGLE_HEADERS: Final = (
    *("authorization", "content-type", "content-length", "host", "if-match", "origin"),
    *("x-request-id",),
)
"""Headers that say one thing: a proxy may read the last of several, and this server the first."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
STRANGER = Caller(role="metrics", visible=AdapterRule(()))
"""Whoever asks whether the server is well: no key was looked at."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Guard:
    """Pure ASGI: authenticate, cap and unpack the body, clean the headers, name the request.

    Leaves ``caller``, ``tenant``, ``request_id``, ``route`` and ``header_names``, as they came, in
    the request's state.

    Args:
        app: what is guarded.
        callers: who holds which key.
        limiter: how much each may ask for.
        limits: how large bodies may be.
        routes: the routes that requests will be matched against, in their order.
        origins: web pages' origins that may use a server without keys, beside loopback's.
    """

    def __init__(
        self,
        app: ASGIApp,
        callers: Callers,
        limiter: Limiter,
        limits: LimitSettings,
        routes: Callable[[], Iterable[BaseRoute]],
        origins: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._callers = callers
        self._limiter = limiter
        self._limits = limits
        self._routes = routes
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with without_plan():
            await self._guarded(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        request_id = _request_id(headers.get("x-request-id"))
        route = match_route(scope, self._routes())
        limit = self._limits.max_upload_bytes if route in UPLOADS else self._limits.body_bytes
        if route in ROUTING_DATA:
            limit = max(limit, _ROUTING_BYTES)
        body = GuardedBody(receive, send, request_id, limit, self._limits)
        with ExitStack() as held:
            try:
                caller = self._admit(scope, headers, route, held)
                body.check_announced(headers.get("content-length"))
                encoding = content_encoding(", ".join(headers.getlist("content-encoding")))
            except ServerError as error:
                await error_response(error)(scope, receive, body.send_named)
                return
            passed = PASSED_HEADERS
            next_piece = body.receive
            if encoding is not None:
                passed = passed - {b"content-length"}
                next_piece = Unpacked(body.receive, encoding, limit, body.refuse).receive
            state = {
                **scope.get("state", {}),
                "caller": caller,
                "tenant": caller.id,
                "request_id": request_id,
                STATE_KEY: route,
                "header_names": frozenset(headers.keys()),
            }
            cleaned = [(name, value) for name, value in scope["headers"] if name in passed]
            with working_for(caller.id):
                await self._app(
                    {**scope, "headers": cleaned, "state": state}, next_piece, body.send
                )

    def _admit(
        self, scope: Scope, headers: Headers, route: MatchedRoute | None, held: ExitStack
    ) -> Caller:
        """Who calls, if it may; its place among its running requests is held from now on."""
        _refuse_repetitions(headers)
        needed = required(route)
        if needed is Right.NOTHING:
            return STRANGER
        if not self._callers.needs_key and scope["method"] not in _SAFE_METHODS:
            _refuse_foreign_pages(headers.get("origin"), self._origins)
        caller = self._callers.identify(headers.get("authorization"))
        held.enter_context(self._limiter.holding(caller))
        if not is_plain(scope["path"]):
            raise NotFound("there is no such route: the path has a character that cannot be seen")
        if needed not in GRANTED[caller.role]:
            raise ActionDenied(
                f"an API key of role {caller.role!r} does not allow {scope['method']} on this path"
            )
        return caller


def _refuse_repetitions(headers: Headers) -> None:
    for name in _SINGLE_HEADERS:
        if len(headers.getlist(name)) > 1:
            raise InvalidRequest(f"the header {name!r} is given more than once")


def _refuse_foreign_pages(origin: str | None, named: Collection[str]) -> None:
    """Without keys, a page on the web must not reach the server through its reader's browser."""
    if origin is None or origin in named or _hostname(origin) in _LOOPBACK_NAMES:
        return
    raise CrossOrigin(
        "a web page of another origin cannot use a server without API keys; start it with "
        "--api-key and call it from your own backend, or name the origin in cors.origins"
    )


def _hostname(origin: str) -> str | None:
    try:
        return urlsplit(origin).hostname
    except ValueError:  # half of an IPv6 address
        return None


def _request_id(given: str | None) -> str:
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return uuid.uuid4().hex
