"""Uploads that are large: never whole in memory, and refused in words, over a real socket."""

import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from loralloy_client import errors
from server.edge.guard import Guard
from server.edge.settings import LimitSettings
from tests.support.access import guarded
from tests.support.both_clients import KINDS, client_of
from tests.support.running_server import free_port

LARGE, LIMIT, LITTLE = 2**26, 2**27, 2**23


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes a body in and says how long it was, as an error of ours."""
    taken = 0
    async for piece in Request(scope, receive).stream():
        taken += len(piece)
    error = {"message": str(taken), "type": "t", "param": None, "code": "adapter_malformed"}
    await JSONResponse({"error": error}, 400)(scope, receive, send)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The server's outermost layer under the server's own HTTP library."""
    route = Route("/v1/adapters", count, methods=["POST"])
    guard = Guard(count, **guarded(limits=LimitSettings(max_upload_bytes=LIMIT), routes=[route]))
    port = free_port()
    config = uvicorn.Config(guard, port=port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def sparse(folder: Path, size: int) -> Path:
    file = folder / "adapter.zip"
    with file.open("wb") as opened:
        opened.truncate(size)
    return file


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_never_whole_in_memory(kind, url, tmp_path):
    file = sparse(tmp_path, LARGE)
    reported: list[int] = []
    tracemalloc.start()
    try:
        with client_of(kind, url) as client, pytest.raises(errors.APIError) as counted:
            client.adapters.push("a", file, progress=lambda sent, _: reported.append(sent))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert int(counted.value.message) == reported[-1] > LARGE
    assert len(reported) > 1000
    assert peak < LITTLE


@pytest.mark.parametrize("kind", KINDS)
def test_too_large_a_file_is_refused_in_words(kind, url, tmp_path):
    file = sparse(tmp_path, LIMIT + 1)
    with client_of(kind, url) as client, pytest.raises(errors.BodyTooLarge, match=str(LIMIT)):
        client.adapters.push("a", file)
