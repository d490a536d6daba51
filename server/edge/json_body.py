"""The JSON body of a request: read whole and strictly, and handed on rewritten."""

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from server.edge.disconnect import ClientGone
from server.edge.json_depth import is_too_deep
from server.errors import BodyTooLarge, InvalidRequest, MalformedJson

JSON: Final = "application/json"


async def read_json(scope: Scope, receive: Receive, max_bytes: int | None = None) -> dict[str, Any]:
    """The body of a request, which is a JSON object.

    Args:
        scope: the request's.
        receive: the request's; nothing has been read of it.
        max_bytes: the most that the body may have; None for what every body may.

    Raises:
        InvalidRequest: it says that it is something else, or nothing.
        BodyTooLarge: it has more bytes.
        MalformedJson: it is no JSON object.
        ClientGone: nobody waits for an answer any more.
    """
    if media_type(Headers(scope=scope)) != JSON:
        raise InvalidRequest(f"send JSON, with the header 'Content-Type: {JSON}'")
    raw = await _whole(receive)
    if max_bytes is not None and len(raw) > max_bytes:
        raise BodyTooLarge(f"the body has {len(raw)} bytes; at most {max_bytes} are taken here")
    return parse_object(raw)


def media_type(headers: Mapping[str, str]) -> str:
    """What a body says it is, in lower case; empty if it says nothing."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def parse_object(raw: bytes) -> dict[str, Any]:
    """Read a JSON object as JSON defines it: no NaN, no half of a surrogate pair.

    Raises:
        MalformedJson: it is none.
    """
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse_constant)
        if b"\\u" in raw:
            # Half of a surrogate pair can be escaped in JSON, but no tokeniser takes it.
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise MalformedJson(
            f"the body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except UnicodeError:
        raise MalformedJson("the body is not valid Unicode") from None
    except RecursionError:
        raise MalformedJson("the body is nested too deeply") from None
    except ValueError as error:
        raise MalformedJson(f"the body is not valid JSON: {error}") from None
    if is_too_deep(raw, value):
        raise MalformedJson("the body is nested too deeply")
    if not isinstance(value, dict):
        raise MalformedJson("the body must be a JSON object")
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number in JSON")


async def _whole(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)


def resized(scope: Scope, length: int) -> Scope:
    """The request's scope with another body of JSON: its length in bytes, and plainly its type."""
    dropped = (b"content-length", b"content-type", b"transfer-encoding", b"content-encoding")
    headers = [(name, value) for name, value in scope["headers"] if name not in dropped]
    told = [(b"content-type", JSON.encode()), (b"content-length", str(length).encode())]
    return {**scope, "headers": [*headers, *told]}


def replayed(body: bytes, receive: Receive) -> Receive:
    """Give the rewritten body first, then whatever still comes (a disconnect)."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return pending.pop() if pending else await receive()

    return next_message
