"""Bodies that come compressed: the same as those that do not, and never more than the limit."""

import functools
import gzip
import random
import zlib

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from server.edge.body.content_encoding import PIECE
from server.edge.guard import Guard
from server.edge.settings import LimitSettings
from tests.support.access import guarded

LIMIT = 4 * PIECE
PACK = functools.partial(gzip.compress, mtime=0)
PACKED = {"gzip": PACK, "x-gzip": PACK, "deflate": zlib.compress}
BODIES = {
    "nothing": b"",
    "a text": b'{"a": 1}',
    "exactly a piece": b"x" * PIECE,
    "noise": random.Random(1).randbytes(3 * PIECE),
    "as much as may be": b"x" * LIMIT,
}


async def echo(request: Request) -> JSONResponse:
    try:
        body = await request.body()
    except Exception:  # noqa: BLE001 - a route may turn anything into its own error
        return JSONResponse({"swallowed": True}, 400)
    headers = dict(request.headers)
    return JSONResponse({"size": len(body), "sum": zlib.crc32(body), "headers": headers})


@pytest.fixture(scope="module")
def http() -> TestClient:
    paths = ("/v1/completions", "/v1/adapters")
    app = Starlette(routes=[Route(path, echo, methods=["POST"]) for path in paths])
    limits = LimitSettings(max_body_bytes=LIMIT, max_upload_bytes=2 * LIMIT)
    return TestClient(Guard(app, **guarded(limits=limits, routes=app.routes)))


def post(http: TestClient, encoding: str, body: object, path: str = "/v1/completions"):
    return http.post(path, content=body, headers={"Content-Encoding": encoding})


def refused(answer, status: int, code: str) -> str:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    return error["message"]


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("what", BODIES)
@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_packed_body_is_the_same_as_a_plain_one(http, encoding, what, in_pieces):
    packed = PACKED[encoding](BODIES[what])
    pieces = iter([packed[:1], packed[1:9], b"", packed[9:]])
    told = post(http, encoding, pieces if in_pieces else packed).json()
    assert (told["size"], told["sum"]) == (len(BODIES[what]), zlib.crc32(BODIES[what]))
    assert not {"content-encoding", "content-length"} & set(told["headers"])


@pytest.mark.parametrize("encoding", ["identity", "", "GZIP", " gzip ", "identity, gzip", ",gzip"])
def test_an_encoding_is_read_as_http_writes_it(http, encoding):
    packed = PACK(b"abc") if "gzip" in encoding.lower() else b"abc"
    assert post(http, encoding, packed).json()["size"] == 3


@pytest.mark.parametrize(
    "encoding", ["br", "zstd", "compress", "gzip, gzip", "deflate, gzip", "gzip;q=1", "aes128gcm"]
)
def test_what_is_not_taken_is_told_with_what_would_be(http, encoding):
    message = refused(post(http, encoding, b"abc"), 415, "unsupported_media_type")
    assert "gzip or deflate" in message


def test_an_encoding_given_twice_is_not_half_read(http):
    twice = [("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")]
    answer = http.post("/v1/completions", content=PACK(b"abc"), headers=twice)
    refused(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("size", [LIMIT + 1, 400 * LIMIT])
def test_a_bomb_is_refused_while_it_is_unpacked(http, encoding, size):
    """Whatever the route makes of a body that breaks off: it would answer 400 here."""
    assert len(PACKED[encoding](b"\0" * size)) < LIMIT
    message = refused(
        post(http, encoding, PACKED[encoding](b"\0" * size)), 413, "request_too_large"
    )
    assert str(LIMIT) in message


def test_no_more_than_the_limit_is_ever_unpacked(http, monkeypatch):
    """By counting what comes out of zlib, for a bomb of a hundred times the limit."""
    from server.edge.body import content_encoding

    out: list[int] = []

    class Counting:
        def __init__(self, window: int) -> None:
            self._inner = zlib.decompressobj(window)

        def decompress(self, data: bytes, most: int) -> bytes:
            piece = self._inner.decompress(data, most)
            out.append(len(piece))
            return piece

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    class Zlib:
        error, decompressobj = zlib.error, Counting

    monkeypatch.setattr(content_encoding, "zlib", Zlib)
    refused(post(http, "gzip", PACK(b"\0" * (100 * LIMIT))), 413, "request_too_large")
    assert max(out) <= PIECE
    assert sum(out) <= LIMIT + PIECE


def test_a_packed_body_is_held_to_the_limit_too(http):
    noise = random.Random(2).randbytes(LIMIT + 1)
    refused(post(http, "gzip", PACK(noise, compresslevel=0)), 413, "request_too_large")


def test_uploads_have_a_limit_of_their_own(http):
    body = b"\0" * (2 * LIMIT)
    assert post(http, "gzip", PACK(body), "/v1/adapters").json()["size"] == len(body)
    more = PACK(body + b"\0")
    refused(post(http, "gzip", more, "/v1/adapters"), 413, "request_too_large")


@pytest.mark.parametrize(
    ("encoding", "body", "told"),
    [
        ("gzip", b'{"a": 1}', "not gzip"),
        ("gzip", zlib.compress(b"abc"), "not gzip"),
        ("deflate", PACK(b"abc"), "not deflate"),
        ("deflate", b"abc", "not deflate"),
        ("gzip", PACK(b"abc")[:-1], "ends too early"),
        ("gzip", PACK(b"abc")[:5], "ends too early"),
        ("gzip", PACK(b"abc")[:-1] + b"x", "not gzip"),
        ("gzip", PACK(b"abc") + b"x", "something follows"),
        ("gzip", PACK(b"abc") + PACK(b"d"), "something follows"),
        ("deflate", zlib.compress(b"x" * PIECE) + b"x", "something follows"),
    ],
)
@pytest.mark.parametrize("in_pieces", [False, True])
def test_what_is_not_what_it_says_is_told_plainly(http, encoding, body, told, in_pieces):
    sent = iter(bytes([one]) for one in body) if in_pieces and len(body) < 100 else body
    assert told in refused(post(http, encoding, sent), 400, "invalid_request")
