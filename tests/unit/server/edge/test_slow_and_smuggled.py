"""Over a real socket: bodies that do not come, and requests hidden within others."""

import json
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from server.edge.guard import Guard
from server.edge.settings import LimitSettings
from tests.support.access import guarded
from tests.support.running_server import free_port

KEY = "sesame"
served: list[tuple[str, bytes]] = []


async def app(scope, receive, send) -> None:
    """Reads a body whole and notes that it did."""
    request = Request(scope, receive)
    try:
        body = await request.body()
    except Exception as error:  # noqa: BLE001 - a route may turn anything into its own error
        await JSONResponse({"swallowed": str(error)}, 400)(scope, receive, send)
        return
    served.append((scope["path"], body))
    await JSONResponse({"size": len(body)})(scope, receive, send)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    routes = [Route("/v1/completions", app, methods=["POST"]), Route("/health", app)]
    limits = LimitSettings(max_body_wait_s=0.5, min_body_rate=1000)
    guard = Guard(app, **guarded(KEY, limits=limits, routes=routes))
    number = free_port()
    server = uvicorn.Server(
        uvicorn.Config(guard, port=number, log_level="error", lifespan="off", server_header=False)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield number
    server.should_exit = True
    thread.join()


def request(path: str, *headers: str, body: bytes = b"", key: str | None = KEY) -> bytes:
    given = [f"POST {path} HTTP/1.1", "Host: x", *headers]
    if key:
        given.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*given, "", ""]).encode() + body


def talk(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """What comes back until the server closes the connection, or says nothing for a while."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as there:
        try:
            for piece in pieces:
                there.sendall(piece)
                if select.select([there], [], [], pause)[0]:
                    break  # an answer: going on to send could cost it
            there.settimeout(2)
            while piece := there.recv(65536):
                answer += piece
        except (TimeoutError, ConnectionError):
            pass
    return answer


def test_a_body_that_does_not_come_is_not_waited_for(port):
    served.clear()
    answer = talk(port, request("/v1/completions", "Content-Length: 9"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 408 " in head.splitlines()[0]
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"]["code"] == "request_timeout"
    assert served == []


def test_a_body_that_drips_is_not_either(port):
    """Each byte in time, and yet no end in sight."""
    served.clear()
    answer = talk(port, request("/v1/completions", "Content-Length: 99"), *[b"x"] * 20, pause=0.1)
    assert b" 408 " in answer.splitlines()[0]
    assert served == []


def test_a_body_that_comes_steadily_takes_as_long_as_it_takes(port):
    served.clear()
    pieces = [b"x" * 400] * 10
    head = request("/v1/completions", "Content-Length: 4000", "Connection: close")
    answer = talk(port, head, *pieces, pause=0.1)
    assert b" 200 " in answer.splitlines()[0]
    assert [len(body) for _, body in served] == [4000]


HIDDEN = request("/v1/completions", "Content-Length: 2", body=b"{}", key=None)
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
SMUGGLED = {
    "both lengths, the chunked one shorter": request(
        "/v1/completions",
        *(f"Content-Length: {5 + len(HIDDEN)}", "Transfer-Encoding: chunked"),
        body=b"0\r\n\r\n" + HIDDEN,
    ),
    "both lengths, the plain one shorter": request(
        "/v1/completions", "Content-Length: 4", "Transfer-Encoding: chunked", body=CHUNKED
    ),
    "two lengths": request(
        "/v1/completions", "Content-Length: 0", f"Content-Length: {len(HIDDEN)}", body=HIDDEN
    ),
    "an odd encoding": request(
        "/v1/completions", "Transfer-Encoding: xchunked", "Content-Length: 0", body=HIDDEN
    ),
    "a length with a sign": request(
        "/v1/completions", f"Content-Length: +{len(HIDDEN)}", body=HIDDEN
    ),
    "a blank before the colon": request(
        "/v1/completions", f"Content-Length : {len(HIDDEN)}", body=HIDDEN
    ),
    "a line within a header": request("/v1/completions", "X: a\nContent-Length: 5", body=HIDDEN),
}


@pytest.mark.parametrize("way", SMUGGLED)
def test_a_request_hidden_in_another_is_never_served(port, way):
    """Each request has to bring its own key, wherever a parser sees its beginning."""
    served.clear()
    answer = talk(port, SMUGGLED[way])
    assert len(served) <= 1
    assert answer.count(b" 200 OK") <= 1
    statuses = [int(line.split()[1]) for line in answer.split(b"\r\n") if line[:5] == b"HTTP/"]
    assert set(statuses) <= {200, 400, 401, 413}


@pytest.mark.parametrize(
    "headers",
    [
        ["Authorization: Bearer wrong", f"Authorization: Bearer {KEY}"],
        [f"Authorization: Bearer wrong, Bearer {KEY}"],
        [f"authorization\x00: Bearer {KEY}"],
        [f"X-Authorization: Bearer {KEY}"],
        [f"Authorization: Bearer\t{KEY}x"],
        [f"Cookie: Authorization=Bearer {KEY}"],
    ],
)
def test_a_key_counts_where_it_belongs_and_nowhere_else(port, headers):
    served.clear()
    answer = talk(port, request("/v1/completions", "Content-Length: 0", *headers, key=None))
    assert int(answer.split()[1]) in (400, 401)
    assert served == []


def test_a_key_in_the_path_is_none(port):
    path = f"/v1/completions?api_key={KEY}&authorization=Bearer+{KEY}"
    assert b" 401 " in talk(port, request(path, "Content-Length: 0", key=None)).splitlines()[0]
