"""Gives every error answer our envelope, whoever made it: vLLM, FastAPI, Starlette or a route."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.envelope import OURS, error_response, plain_error, translate_body
from server.errors import MalformedJson

_MAX_FAULTS = 3
_INTERNAL_MARKS = ("[", "(", "{")
_TYPE_NAMES = frozenset({"str", "int", "float", "bool", "bytes", "list", "dict", "none"})


class ErrorShape:
    """Pure ASGI: rewrites the body of answers with a status of 400 and above."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def reshape(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and message["status"] >= 400:
                start = message
            elif start is None:
                await send(message)
            elif message["type"] == "http.response.body":
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await _send_error(start, body, send)

        await self._app(scope, receive, reshape)


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
    told = list(dict.fromkeys(_fault(fault) for fault in faults))
    more = len(told) - _MAX_FAULTS
    message = "; ".join(told[:_MAX_FAULTS]) + (f"; and {more} more" if more > 0 else "")
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
