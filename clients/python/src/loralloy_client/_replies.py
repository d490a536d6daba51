"""From an answer to a typed value, or to the error that it stands for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx
from pydantic import ValidationError

from loralloy_client import errors
from loralloy_client.errors import APIError, ConnectionFailed, LoralloyError, UnexpectedAnswer
from loralloy_client.generations import Generated, Record

R = TypeVar("R", bound=Record)

REQUEST_ID = "X-Request-Id"
_SERVER_ERROR = "server_error"
_FIRST_CLIENT_ERROR, _FIRST_SERVER_ERROR, _BEYOND = 400, 500, 600

BY_CODE: Mapping[str, type[APIError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, APIError) and kind.code is not None
}

BY_STATUS: Mapping[int, type[APIError]] = {
    400: errors.InvalidRequest,
    401: errors.Unauthorized,
    403: errors.PermissionDenied,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    408: errors.BodyTooSlow,
    409: errors.Conflict,
    412: errors.PreconditionFailed,
    413: errors.BodyTooLarge,
    415: errors.UnsupportedMediaType,
    422: errors.InvalidRequest,
    429: errors.Overloaded,
    500: errors.ServerFailed,
    501: errors.NotSupported,
    503: errors.Unavailable,
    507: errors.StorageFull,
}


def parsed(text: str | bytes) -> object:
    """The JSON of a text; None if it is none."""
    try:
        value: object = json.loads(text)
    except ValueError:
        return None
    return value


def record_of(kind: type[R], value: object, request_id: str | None) -> R:
    """A typed value from JSON; answers learn the id of their request.

    Raises:
        UnexpectedAnswer: the JSON is something else.
    """
    if issubclass(kind, Generated) and isinstance(value, dict):
        value = {**value, "request_id": request_id}
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UnexpectedAnswer(
            f"the answer is no {kind.__name__}: {field or 'all of it'}: {first['msg']}",
            request_id=request_id,
        ) from error


def record_in(kind: type[R], response: httpx.Response) -> R:
    """The typed value in a whole answer that is no error."""
    return record_of(kind, parsed(response.content), response.headers.get(REQUEST_ID))


def failure_in(response: httpx.Response) -> LoralloyError:
    """The error that a whole answer stands for."""
    status = response.status_code
    body = parsed(response.content)
    inside = body.get("error") if isinstance(body, dict) else None
    fields = inside if isinstance(inside, dict) else {}
    code = _text(fields.get("code"))
    message = _text(fields.get("message"))
    return _class_of(code, status)(
        message or f"the server answered {status} {response.reason_phrase}".rstrip(),
        type=_text(fields.get("type")),
        param=_text(fields.get("param")),
        code=code,
        status=status,
        request_id=response.headers.get(REQUEST_ID),
        retry_after=_seconds(response.headers.get("Retry-After")),
    )


def error_in_stream(inside: object, request_id: str | None) -> LoralloyError:
    """The error that ends a stream, which has no status of its own."""
    fields = inside if isinstance(inside, dict) else {}
    code, kind = _text(fields.get("code")), _text(fields.get("type"))
    by_type = _FIRST_SERVER_ERROR if kind in (_SERVER_ERROR, None) else _FIRST_CLIENT_ERROR
    return _class_of(code, by_type)(
        _text(fields.get("message")) or "the server broke the answer off",
        type=kind,
        param=_text(fields.get("param")),
        code=code,
        request_id=request_id,
    )


def failure_from(error: httpx.RequestError) -> ConnectionFailed | UnexpectedAnswer:
    """Our error for what went wrong on the way, with httpx's as its cause."""
    address = f"{error.request.url.scheme}://{error.request.url.netloc.decode()}"
    reason = str(error) or type(error).__name__
    failure: ConnectionFailed | UnexpectedAnswer
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        failure = errors.NotConnected(f"no server answers at {address}: {reason}")
    elif isinstance(error, httpx.TimeoutException):
        failure = errors.TimedOut(f"{address} took too long: {reason}")
    elif isinstance(error, httpx.TransportError):
        failure = errors.ConnectionLost(f"the connection to {address} broke: {reason}")
    else:
        failure = UnexpectedAnswer(f"the answer of {address} cannot be read: {reason}")
    failure.__cause__ = error
    return failure


def _class_of(code: str | None, status: int) -> type[LoralloyError]:
    """By the code if it is known, else by the status."""
    if code is not None and code in BY_CODE:
        return BY_CODE[code]
    if status in BY_STATUS:
        return BY_STATUS[status]
    if _FIRST_SERVER_ERROR <= status < _BEYOND:
        return errors.ServerFailed
    if _FIRST_CLIENT_ERROR <= status < _FIRST_SERVER_ERROR:
        return errors.InvalidRequest
    return UnexpectedAnswer


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _seconds(header: str | None) -> float | None:
    """What ``Retry-After`` says, as seconds or as a date."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
