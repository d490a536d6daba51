"""A JSON object that a route reads itself, strictly."""

from typing import Any, Final

from fastapi import Request

from server.errors import BodyTooLarge, InvalidRequest
from server.generation.body import parse_object

JSON_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}
"""What OpenAPI's schema says of such a route."""


FORM: Final = "multipart/form-data"


async def json_object(request: Request, max_bytes: int | None = None) -> dict[str, Any]:
    """The body.

    Args:
        request: its body is read.
        max_bytes: the most that it may have; None for what every body may.

    Raises:
        InvalidRequest: it says that it is something else.
        MalformedJson: it is no JSON object.
        BodyTooLarge: it has more bytes.
    """
    if media_type(request) != "application/json":
        raise InvalidRequest("send JSON, with the header 'Content-Type: application/json'")
    raw = await request.body()
    if max_bytes is not None and len(raw) > max_bytes:
        raise BodyTooLarge(f"the body has {len(raw)} bytes; {max_bytes} are taken here at most")
    return parse_object(raw)


def media_type(request: Request) -> str:
    """What the body says it is, in lower case; empty if it says nothing."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
