"""Bodies that come compressed: unpacked piece by piece, and never further than the limit."""

import zlib
from collections.abc import Callable, Mapping
from typing import Final

from starlette.types import Message, Receive

from server.errors import BodyTooLarge, InvalidRequest, ServerError, UnsupportedMediaType

_WINDOWS: Final[Mapping[str, int]] = {
    "gzip": zlib.MAX_WBITS | 16,
    "x-gzip": zlib.MAX_WBITS | 16,
    "deflate": zlib.MAX_WBITS,
}
"""Encoding → what zlib calls its form. HTTP's ``deflate`` is zlib's own (RFC 9110, 8.4.1.2)."""

PIECE: Final = 2**16
"""Most bytes that are unpacked at once: so long the event loop waits."""


def content_encoding(header: str | None) -> str | None:
    """How a body is compressed, by its ``Content-Encoding``; None if it is not.

    Raises:
        UnsupportedMediaType: in a way that is not taken here, or more than once.
    """
    named = [one.strip().lower() for one in (header or "").split(",")]
    given = [one for one in named if one not in ("", "identity")]
    if not given:
        return None
    if len(given) > 1 or given[0] not in _WINDOWS:
        raise UnsupportedMediaType(
            "the body's Content-Encoding is not taken here; compress it once, with gzip or "
            "deflate, or send it as it is"
        )
    return given[0]


class Unpacked:
    """One request's ``receive`` with its body unpacked.

    Args:
        receive: the request's; its pieces are compressed.
        encoding: how, as :func:`content_encoding` tells it.
        limit: most bytes of the body when it is unpacked.
        refuse: told of an error before it is raised, so that it reaches the client whatever the
            route makes of it.
    """

    def __init__(
        self,
        receive: Receive,
        encoding: str,
        limit: int,
        refuse: Callable[[ServerError], ServerError],
    ) -> None:
        self._receive = receive
        self._encoding = encoding
        self._limit = limit
        self._refuse = refuse
        self._unpacker = zlib.decompressobj(_WINDOWS[encoding])
        self._packed = b""
        self._received = self._unpacked = 0
        self._may_hold_more = False
        self._is_last = self._is_whole = False

    async def receive(self) -> Message:
        """The next piece of the body, unpacked; what comes after it as it is."""
        if self._is_whole:
            return await self._receive()
        piece = b""
        while not piece and not self._is_whole:
            if not self._packed and not self._may_hold_more and not self._is_last:
                message = await self._receive()
                if message["type"] != "http.request":
                    return message
                self._packed = message.get("body", b"")
                self._received += len(self._packed)
                self._is_last = not message.get("more_body", False)
            piece = self._next_piece()
        return {"type": "http.request", "body": piece, "more_body": not self._is_whole}

    def _next_piece(self) -> bytes:
        """Unpack a little of what has come, and see whether that was all."""
        try:
            piece = self._unpacker.decompress(self._packed, PIECE)
        except zlib.error:
            raise self._refuse(
                InvalidRequest(f"the body is not {self._encoding}, as its Content-Encoding says")
            ) from None
        self._packed = self._unpacker.unconsumed_tail
        self._may_hold_more = len(piece) == PIECE
        self._unpacked += len(piece)
        if self._unpacked > self._limit:
            raise self._refuse(
                BodyTooLarge(
                    f"the body is larger than {self._limit} bytes when it is unpacked, the most "
                    "that this route takes"
                )
            )
        self._see_end()
        return piece

    def _see_end(self) -> None:
        if self._unpacker.unused_data:
            raise self._refuse(InvalidRequest(f"something follows the {self._encoding} body"))
        if not self._is_last or self._packed or self._may_hold_more:
            return
        if self._received and not self._unpacker.eof:
            raise self._refuse(InvalidRequest(f"the {self._encoding} body ends too early"))
        self._is_whole = True
