"""A server on the loopback that answers as a test says: refusals, lost connections, cut streams."""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        body: its pieces, each sent on its own.
        is_cut: whether the connection breaks where the body should end; without pieces, before
            the answer begins.
        wait_s: seconds until it begins.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Sequence[bytes] = ()
    is_cut: bool = False
    wait_s: float = 0.0


def says(value: object, status: int = 200, **headers: str) -> Answer:
    """A whole JSON answer; an underscore in a header's name is a hyphen."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, named, [json.dumps(value).encode()])


def refuses(status: int, code: str, **headers: str) -> Answer:
    """An error answer of ours."""
    error = {"message": "no", "type": "server_error", "param": None, "code": code}
    return says({"error": error}, status, **headers)


LOST = Answer(is_cut=True)


@dataclass
class Scripted:
    """A running server.

    Attributes:
        seen: the requests that came, as (method, path, headers, body).
    """

    url: str
    seen: list[tuple[str, str, Mapping[str, str], bytes]] = field(default_factory=list)


@contextmanager
def scripted(*answers: Answer) -> Iterator[Scripted]:
    """A server that gives these answers in turn, and the last one for ever."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            running.seen.append((self.command, self.path, dict(self.headers), body))
            answer = left.pop(0) if len(left) > 1 else left[0]
            time.sleep(answer.wait_s)
            self.close_connection = answer.is_cut
            if answer.is_cut and not answer.body:
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in answer.body:
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            if not answer.is_cut:
                self.wfile.write(b"0\r\n\r\n")

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - names of the base class

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the test has ``seen``."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        running = Scripted(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()
