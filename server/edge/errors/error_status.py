"""The one shape of an error on the wire, and the table that gives every error its status.

    {"error": {"message": str, "type": str, "param": str | null, "code": str}}

``type`` is one of OpenAI's words, ``code`` is stable and meant for programs. Lower packages know
nothing of HTTP: the table here is looked up along an error's ancestry.
"""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus

from fastapi.responses import JSONResponse

from adapters import errors as adapter_errors
from router import errors as router_errors
from server import errors as server_errors
from server.edge.errors.engine_words import reworded
from server.engine import errors as engine_errors

INVALID = "invalid_request_error"
AUTHENTICATION = "authentication_error"
PERMISSION = "permission_error"
RATE = "rate_limit_error"
SERVER = "server_error"
TYPES = frozenset({INVALID, AUTHENTICATION, PERMISSION, RATE, SERVER})

STATUS: Mapping[type[Exception], tuple[int, str]] = {
    server_errors.ServerError: (500, SERVER),
    server_errors.InvalidSettings: (500, SERVER),
    server_errors.InvalidRequest: (400, INVALID),
    server_errors.ModelNotFound: (404, INVALID),
    server_errors.AdapterBeingRemoved: (404, INVALID),
    server_errors.NameBeingRemoved: (409, INVALID),
    server_errors.TraceNotFound: (404, INVALID),
    server_errors.PolicyNameTaken: (409, INVALID),
    server_errors.PolicyNotRemovable: (409, INVALID),
    server_errors.PolicyVersionConflict: (412, INVALID),
    server_errors.SourceNotAllowed: (403, PERMISSION),
    server_errors.SourceNotFound: (404, INVALID),
    server_errors.SourceUnavailable: (503, SERVER),
    server_errors.JobNotFound: (404, INVALID),
    server_errors.JobCancelled: (409, INVALID),
    server_errors.TooManyJobs: (503, SERVER),
    server_errors.Unauthorized: (401, AUTHENTICATION),
    server_errors.CrossOrigin: (403, PERMISSION),
    server_errors.ActionDenied: (403, PERMISSION),
    server_errors.RateLimited: (429, RATE),
    server_errors.TooManyConcurrent: (429, RATE),
    server_errors.NotFound: (404, INVALID),
    server_errors.UnsupportedMediaType: (415, INVALID),
    server_errors.BodyTooLarge: (413, INVALID),
    server_errors.BodyTooSlow: (408, INVALID),
    server_errors.AdaptersBusy: (503, SERVER),
    server_errors.NotReady: (503, SERVER),
    server_errors.EngineUnavailable: (503, SERVER),
    engine_errors.EngineError: (500, SERVER),
    engine_errors.EngineStartError: (503, SERVER),
    engine_errors.EngineLoadError: (503, SERVER),
    engine_errors.EngineFull: (503, SERVER),
    adapter_errors.AdapterError: (500, SERVER),
    adapter_errors.AdapterNotFound: (404, INVALID),
    adapter_errors.AdapterExists: (409, INVALID),
    adapter_errors.VersionNotFound: (404, INVALID),
    adapter_errors.VersionConflict: (412, INVALID),
    adapter_errors.InvalidName: (400, INVALID),
    adapter_errors.StorageFailed: (500, SERVER),
    adapter_errors.StorageFull: (507, SERVER),
    adapter_errors.UnsupportedBaseModel: (500, SERVER),
    adapter_errors.InvalidAdapter: (400, INVALID),
    adapter_errors.TooLarge: (413, INVALID),
    router_errors.RoutingError: (500, SERVER),
    router_errors.UnknownPolicy: (404, INVALID),
    router_errors.InvalidPolicy: (400, INVALID),
    router_errors.NoCandidates: (400, INVALID),
    router_errors.NoStaticEncoder: (400, INVALID),
    router_errors.UnknownAdapterInPolicy: (400, INVALID),
    router_errors.EncoderFailed: (500, SERVER),
    router_errors.InvalidCentroid: (400, INVALID),
    router_errors.CentroidMismatch: (400, INVALID),
    router_errors.NoExamples: (400, INVALID),
    router_errors.NoCentroid: (400, INVALID),
}

OURS = (
    server_errors.ServerError,
    adapter_errors.AdapterError,
    router_errors.RoutingError,
    engine_errors.EngineError,
)
"""Errors whose messages were written for clients."""

_FOREIGN_CODES: Mapping[int, str] = {
    400: "invalid_request",
    401: "invalid_api_key",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "request_too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    429: "overloaded",
    501: "not_implemented",
    503: "overloaded",
}
_MAX_MESSAGE = 4000
_MAX_PARAM = 200
_TOO_LONG = re.compile(
    r"context length|maximum model length|max_model_len|Input length", re.IGNORECASE
)
_PATH = re.compile(r"(?<![\w:/.<])/(?!v1/)(?:[\w.@+-]+/)+[\w.@+-]*")
_INTERNAL = "the server failed on this request; its log says why under the request's id"


def envelope(
    message: str, *, kind: str = INVALID, code: str = "invalid_request", param: str | None = None
) -> dict[str, dict[str, str | None]]:
    """The body of an error; what it quotes of a request makes it no longer than is read."""
    if len(message) > _MAX_MESSAGE:
        message = message[:_MAX_MESSAGE] + "…"
    param = None if param is None else param[:_MAX_PARAM]
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def status_of(error: Exception) -> tuple[int, str]:
    """Status and type of an error, by its nearest ancestor in the table."""
    for ancestor in type(error).__mro__:
        if ancestor in STATUS:
            return STATUS[ancestor]
    return (500, SERVER)


def error_body(error: Exception) -> dict[str, dict[str, str | None]]:
    """The body for an error; unexpected ones are told in general words."""
    if not isinstance(error, OURS):
        return envelope(_INTERNAL, kind=SERVER, code="internal_error")
    _, kind = status_of(error)
    param = getattr(error, "param", None) or getattr(error, "field", None)
    return envelope(str(error), kind=kind, code=error.code, param=param)


def error_response(error: Exception) -> JSONResponse:
    """The answer to a request that ended in an error."""
    status, _ = status_of(error)
    retry_after = getattr(error, "retry_after", None) if isinstance(error, OURS) else None
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error_body(error), status, headers)


def plain_error(status: int, message: str, param: str | None = None) -> JSONResponse:
    """An error that no class of ours stands for, such as an unknown route."""
    status = HTTPStatus.BAD_REQUEST if status == HTTPStatus.UNPROCESSABLE_ENTITY else status
    code = _FOREIGN_CODES.get(status, "invalid_request" if status < 500 else "internal_error")
    kind = SERVER if status >= HTTPStatus.INTERNAL_SERVER_ERROR else INVALID
    return JSONResponse(envelope(message, kind=kind, code=code, param=param), status)


def translate(foreign: Mapping[str, object], status: int) -> dict[str, dict[str, str | None]]:
    """Turn the inside of another library's error into our envelope.

    Args:
        foreign: what stood under ``error`` or ``detail``: ``message``, ``param``, ``type``,
            ``code``, each of which may be absent.
        status: the status of the answer, or the one that the error would have had in a stream.
    """
    code, kind = foreign.get("code"), foreign.get("type")
    message = str(foreign.get("message") or HTTPStatus(status).phrase)
    param = foreign.get("param")
    param = param if isinstance(param, str) else None
    if isinstance(code, str) and kind in TYPES:
        return envelope(message, kind=str(kind), code=code, param=param)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        ours = _FOREIGN_CODES.get(status, "internal_error")
        shown = _INTERNAL if ours == "internal_error" else _PATH.sub("<path>", message)
        return envelope(shown, kind=SERVER, code=ours)
    ours = _FOREIGN_CODES.get(status, "invalid_request")
    if status == HTTPStatus.BAD_REQUEST and _TOO_LONG.search(message):
        ours = "context_length_exceeded"
    if status == HTTPStatus.NOT_FOUND and param == "model":
        ours = "model_not_found"
    return envelope(_PATH.sub("<path>", reworded(message, param)), code=ours, param=param)


def translate_body(body: bytes, status: int) -> bytes:
    """Turn the whole body of an error answer into our envelope; ours passes unchanged."""
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    foreign = value.get("error", value.get("detail")) if isinstance(value, dict) else None
    if isinstance(foreign, str):
        foreign = {"message": foreign}
    inside = foreign if isinstance(foreign, dict) else {}
    return json.dumps(translate(inside, status), ensure_ascii=False).encode()
