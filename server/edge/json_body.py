"""The JSON body of a request, read whole, and handed on changed."""

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from server.edge.disconnect import ClientGone
from server.errors import InvalidRequest


async def read_json(scope: Scope, receive: Receive) -> bytes:
    """The whole body of a request that says it is JSON.

    Raises:
        InvalidRequest: it says that it is something else, or nothing.
        ClientGone: nobody waits for an answer any more.
    """
    media_type = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise InvalidRequest("send JSON, with the header 'Content-Type: application/json'")
    pieces: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)


def resized(scope: Scope, length: int) -> Scope:
    """The request's scope with a body of another length, in bytes."""
    dropped = (b"content-length", b"transfer-encoding", b"content-encoding")
    headers = [(name, value) for name, value in scope["headers"] if name not in dropped]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}


def replayed(body: bytes, receive: Receive) -> Receive:
    """Give the rewritten body first, then whatever still comes (a disconnect)."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return pending.pop() if pending else await receive()

    return next_message
