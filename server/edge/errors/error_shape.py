"""Gives every error answer our envelope, whoever made it: vLLM, FastAPI, Starlette or a route.

Once the engine has died, whatever fails in the server fails for that: then it is what the answer
says, and not how vLLM puts it.
"""

import logging
from collections.abc import Callable
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.edge.disconnect import ClientGone
from server.edge.errors.error_status import (
    OURS,
    error_response,
    plain_error,
    status_of,
    translate_body,
)
from server.edge.errors.validation_faults import sentence_of
from server.errors import EngineUnavailable, MalformedJson

logger = logging.getLogger(__name__)

EngineFailed = Callable[[], bool]
"""Whether the engine has died."""

_FAULT_OF_OURS = HTTPStatus.INTERNAL_SERVER_ERROR
"""From this status on an error is the server's."""

_SHOWN_PATH = 200


class ErrorShape:
    """Pure ASGI: rewrites every error answer, and answers what nobody caught.

    Args:
        app: what serves.
        engine_failed: whether the engine has died.
    """

    def __init__(self, app: ASGIApp, engine_failed: EngineFailed = lambda: False) -> None:
        self._app = app
        self._engine_failed = engine_failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Reshaped(scope, receive, send, self._engine_failed)
        try:
            await self._app(scope, receive, answer.send)
        except ClientGone:
            return
        except Exception as error:  # whatever a route failed at, the client gets one shape
            if answer.started:
                raise
            if self._engine_failed() and status_of(error)[0] >= _FAULT_OF_OURS:
                error = EngineUnavailable()
            if not isinstance(error, OURS):
                request_id = scope.get("state", {}).get("request_id")
                logger.error("request %s failed", request_id, exc_info=error)
            await error_response(error)(scope, receive, send)


class _Reshaped:
    """One answer: an error is held back until its body is whole, the rest passes."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, engine_failed: EngineFailed
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._engine_failed = engine_failed
        self._error: Message | None = None
        self._body = b""
        self.started = False

    async def send(self, message: Message) -> None:
        """The next piece of the answer."""
        is_start = message["type"] == "http.response.start"
        if is_start and message["status"] >= HTTPStatus.BAD_REQUEST:
            self._error = message
        elif self._error is None:
            self.started = True
            await self._send(message)
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self.started = True
                await self._send_error(self._error)

    async def _send_error(self, start: Message) -> None:
        status = start["status"]
        if status >= _FAULT_OF_OURS and self._engine_failed():
            answer = error_response(EngineUnavailable())
            await answer(self._scope, self._receive, self._send)
            return
        shaped = translate_body(self._body, status)
        if status == HTTPStatus.UNPROCESSABLE_ENTITY:
            start["status"] = int(HTTPStatus.BAD_REQUEST)
        headers = MutableHeaders(scope=start)
        headers["content-type"] = "application/json"
        headers["content-length"] = str(len(shaped))
        await self._send(start)
        await self._send({"type": "http.response.body", "body": shaped, "more_body": False})


def handle_errors(app: FastAPI) -> None:
    """Register the handlers of our own errors, over those that vLLM has registered."""
    for root in OURS:
        app.add_exception_handler(root, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _ours)


async def _ours(request: Request, error: Exception) -> Response:
    return error_response(error)


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return error_response(error)
    path = request.scope["path"][:_SHOWN_PATH]
    messages: dict[int, str] = {
        HTTPStatus.BAD_REQUEST: "the body cannot be read",
        HTTPStatus.NOT_FOUND: f"there is no route {request.method} {path}",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{path} does not take {request.method}",
    }
    shown = messages.get(error.status_code, HTTPStatus(error.status_code).phrase.lower())
    response = plain_error(error.status_code, shown)
    response.headers.update(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = _with_head(response.headers.get("Allow", ""))
    return response


def _with_head(allowed: str) -> str:
    """The methods that a path takes: HEAD wherever GET is."""
    methods = {method.strip() for method in allowed.split(",") if method.strip()}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


async def _invalid(request: Request, error: Exception) -> Response:
    """Tell the first faults of a body, by field, without echoing its content."""
    if not isinstance(error, RequestValidationError):
        return error_response(error)
    faults = [fault for fault in error.errors() if isinstance(fault, dict)]
    if not faults:
        return plain_error(HTTPStatus.BAD_REQUEST, "the body cannot be read")
    if faults[0].get("type") == "json_invalid":
        return error_response(MalformedJson("the body is not valid JSON"))
    return plain_error(HTTPStatus.BAD_REQUEST, *sentence_of(faults))
