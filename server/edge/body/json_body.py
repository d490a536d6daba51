"""The JSON body of a request: read whole and strictly, and handed on as it was read."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, TypeVar

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from server.edge.body.json_depth import is_too_deep
from server.edge.body.json_size import check_size
from server.edge.body.large_bodies import read_beside
from server.edge.disconnect import ClientGone
from server.errors import BodyTooLarge, InvalidRequest, MalformedJson

JSON: Final = "application/json"

READ_KEY: Final = "json"
"""Where a request's state has the body that was read of it."""

T = TypeVar("T")


async def read_json(scope: Scope, receive: Receive, max_bytes: int | None = None) -> dict[str, Any]:
    """The body of a request, which is a JSON object; else as :func:`read_as`."""
    return await read_as(lambda body: body, scope, receive, max_bytes)


async def read_as(
    make: Callable[[dict[str, Any]], T],
    scope: Scope,
    receive: Receive,
    max_bytes: int | None = None,
) -> T:
    """What is made of the body of a request, which is a JSON object.

    Args:
        make: takes the body apart, beside the event loop if the body is large.
        scope: the request's.
        receive: the request's; nothing has been read of it.
        max_bytes: the most that the body may have; None for what every body may.

    Raises:
        InvalidRequest: it says that it is something else, or nothing.
        BodyTooLarge: it has more bytes, or more values than are parsed at once.
        MalformedJson: it is no JSON object.
        ClientGone: nobody waits for an answer any more.
        Exception: whatever ``make`` raises.
    """
    if media_type(Headers(scope=scope)) != JSON:
        raise InvalidRequest(f"send JSON, with the header 'Content-Type: {JSON}'")
    raw = await _whole(receive)
    if max_bytes is not None and len(raw) > max_bytes:
        raise BodyTooLarge(f"the body has {len(raw)} bytes; at most {max_bytes} are taken here")
    return await read_beside(len(raw), lambda: make(parse_object(raw)))


def media_type(headers: Mapping[str, str]) -> str:
    """What a body says it is, in lower case; empty if it says nothing."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def parse_object(raw: bytes) -> dict[str, Any]:
    """Read a JSON object as JSON defines it: no NaN, no half of a surrogate pair.

    Raises:
        BodyTooLarge: it holds more values than are parsed at once.
        MalformedJson: it is none.
    """
    check_size(raw)
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


class ReadRequest(Request):
    """A request whose body was read already, if any was: nobody reads it otherwise, or again."""

    async def json(self) -> Any:  # noqa: ANN401 - any JSON
        """The body as it was read, and changed, before."""
        state = self.scope["state"]
        return state[READ_KEY] if READ_KEY in state else await super().json()


def handed_on(scope: Scope, body: Mapping[str, Any]) -> Scope:
    """The scope of a request for whoever takes a :class:`ReadRequest`: with the body that was read.

    The header tells plainly what it is, and the length of what :func:`replayed` gives.
    """
    dropped = (b"content-length", b"content-type", b"transfer-encoding", b"content-encoding")
    headers = [(name, value) for name, value in scope["headers"] if name not in dropped]
    told = [(b"content-type", JSON.encode()), (b"content-length", str(len(_EMPTY)).encode())]
    state = {**scope.get("state", {}), READ_KEY: body}
    return {**scope, "headers": [*headers, *told], "state": state}


_EMPTY: Final = b"{}"


def replayed(receive: Receive) -> Receive:
    """Give an empty object where the body was, then whatever still comes (a disconnect)."""
    pending: list[Message] = [{"type": "http.request", "body": _EMPTY, "more_body": False}]

    async def next_message() -> Message:
        return pending.pop() if pending else await receive()

    return next_message
