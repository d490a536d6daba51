"""An ASGI app on a real socket, in this process: what an HTTP parser makes of a request counts."""

import http.client
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn

from tests.support.running_server import free_port


@contextmanager
def listening(app: Any) -> Iterator[int]:
    """Serve an app until the block is left, without its lifespan; gives the port."""
    port = free_port()
    config = uvicorn.Config(
        app, port=port, log_level="error", lifespan="off", server_header=False, ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join()


class Line:
    """A connection that is kept, over which targets go out letter by letter as they are given."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of an answer."""
        self._http.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            self._http.putheader(name, value)
        self._http.putheader("Content-Length", str(len(body)))
        self._http.endheaders(body)
        answer = self._http.getresponse()
        content = answer.read()
        if answer.will_close:
            self._http.close()  # and connects anew at the next request
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, content

    def close(self) -> None:
        """Hang up."""
        self._http.close()
