"""Gives every error answer our envelope, whoever made it: vLLM, FastAPI, Starlette or a route."""

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.edge.disconnect import ClientGone
from server.edge.error_status import OURS, error_response, plain_error, translate_body
from server.edge.validation_faults import sentence_of
from server.errors import MalformedJson

logger = logging.getLogger(__name__)

_SHOWN_PATH = 200


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
        except ClientGone:
            return
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
