"""A ``multipart/form-data`` body that is read from disk while it is sent."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

PIECE_BYTES = 2**16

Progress = Callable[[int, int], None]
"""Called with the bytes sent so far and their total."""


class Form:
    """Fields with texts and files; of a file, at most one piece is in memory.

    Attributes:
        content_type: with the boundary.
        length: bytes of the whole body.
    """

    def __init__(
        self,
        texts: Mapping[str, str],
        files: Mapping[str, Path],
        progress: Progress | None = None,
    ) -> None:
        boundary = f"loralloy-{secrets.token_hex(16)}"
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._progress = progress
        self._parts: list[tuple[bytes, bytes | Path, int]] = []
        for field, text in texts.items():
            content = text.encode()
            self._parts.append((_head(boundary, field), content, len(content)))
        for field, path in files.items():
            self._parts.append((_head(boundary, field, path.name), path, path.stat().st_size))
        self._end = f"--{boundary}--\r\n".encode()
        framed = sum(len(head) + size + len(b"\r\n") for head, _, size in self._parts)
        self.length = framed + len(self._end)

    def pieces(self) -> Iterator[bytes]:
        """The body from its beginning; it can be asked for again.

        Raises:
            OSError: a file cannot be read, or has become shorter.
        """
        for head, content, size in self._parts:
            yield head
            if isinstance(content, bytes):
                yield content
            else:
                yield from _read(content, size)
            yield b"\r\n"
        yield self._end

    def tell(self, sent: int) -> None:
        """Tell whoever watches how many bytes have gone."""
        if self._progress is not None:
            self._progress(sent, self.length)


def _head(boundary: str, field: str, filename: str | None = None) -> bytes:
    lines = [f"--{boundary}", f'Content-Disposition: form-data; name="{field}"']
    if filename is not None:
        lines[1] += f'; filename="{_quoted(filename)}"'
        lines.append("Content-Type: application/octet-stream")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace")


def _quoted(filename: str) -> str:
    """A name between quotes, as HTML's forms write it."""
    return filename.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _read(path: Path, size: int) -> Iterator[bytes]:
    """The first ``size`` bytes of a file, which were announced."""
    with path.open("rb") as file:
        left = size
        while left:
            piece = file.read(min(PIECE_BYTES, left))
            if not piece:
                raise OSError(f"{path} became shorter while it was sent")
            left -= len(piece)
            yield piece
