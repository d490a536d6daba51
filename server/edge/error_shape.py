"""Gives every error answer our envelope, whoever made it: vLLM, FastAPI, Starlette or a route."""

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.edge.error_status import OURS, error_response, plain_error, translate_body
from server.errors import MalformedJson

logger = logging.getLogger(__name__)

_MAX_FAULTS = 3
_INTERNAL_MARKS = ("[", "(", "{")
_TYPE_NAMES = frozenset({"str", "int", "float", "bool", "bytes", "list", "dict", "none"})


class ErrorShape:
    """Pure ASGI: rewrites every error answer, and answers what nobody caught."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Reshaped(send)
        try:
            await self._app(scope, receive, answer.send)
        except Exception as error:  # whatever a route failed at, the client gets one shape
            if answer.started:
                raise
            if not isinstance(error, OURS):
                request_id = scope.get("state", {}).get("request_id")
                logger.error("request %s failed", request_id, exc_info=error)
            await error_response(error)(scope, receive, send)


class _Reshaped:
    """One answer: an error is held back until its body is whole, the rest passes."""

    def __init__(self, send: Send) -> None:
        self._send = send
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
                await _send_error(self._error, self._body, self._send)


async def _send_error(start: Message, body: bytes, send: Send) -> None:
    status = start["status"]
    shaped = translate_body(body, status)
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        start["status"] = int(HTTPStatus.BAD_REQUEST)
    headers = MutableHeaders(scope=start)
    headers["content-type"] = "application/json"
    headers["content-length"] = str(len(shaped))
    await send(start)
    await send({"type": "http.response.body", "body": shaped, "more_body": False})


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
    messages: dict[int, str] = {
        HTTPStatus.NOT_FOUND: f"there is no route {request.method} {request.url.path}",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.url.path} does not take {request.method}",
    }
    shown = messages.get(error.status_code, str(error.detail))
    response = plain_error(error.status_code, shown)
    response.headers.update(error.headers or {})
    return response


async def _invalid(request: Request, error: Exception) -> Response:
    """Tell the first faults of a body, by field, without echoing its content."""
    if not isinstance(error, RequestValidationError):
        return error_response(error)
    faults = [fault for fault in error.errors() if isinstance(fault, dict)]
    if not faults:
        return plain_error(HTTPStatus.BAD_REQUEST, "; ".join(map(str, error.errors())))
    if faults[0].get("type") == "json_invalid":
        return error_response(MalformedJson("the body is not valid JSON"))
    messages = list(dict.fromkeys(_fault(fault) for fault in faults))
    more = len(messages) - _MAX_FAULTS
    message = "; ".join(messages[:_MAX_FAULTS]) + (f"; and {more} more" if more > 0 else "")
    return plain_error(HTTPStatus.BAD_REQUEST, message, _field(faults[0]))


def _fault(fault: dict[str, object]) -> str:
    field, message = _field(fault), str(fault.get("msg", "is not valid"))
    message = message.removeprefix("Value error, ")
    return message if field is None else f"{field}: {message}"


def _field(fault: dict[str, object]) -> str | None:
    """The field at fault, as ``messages.0.content``; what pydantic adds of its own is cut off."""
    context = fault.get("ctx")
    if isinstance(context, dict):
        named = getattr(context.get("error"), "parameter", None)
        if isinstance(named, str):
            return named
    location = fault.get("loc")
    parts: list[str] = []
    for part in location if isinstance(location, tuple | list) else ():
        if isinstance(part, str) and (
            part in _TYPE_NAMES or any(mark in part for mark in _INTERNAL_MARKS)
        ):
            continue
        if part not in ("body", "query", "path") or parts:
            parts.append(str(part))
    return ".".join(parts[:4]) or None
