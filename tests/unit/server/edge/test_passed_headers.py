"""Of a request's headers the few that a route reads go on; vLLM's routes read others."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from server.edge.guard import PASSED_HEADERS, Guard
from tests.support.access import guarded

ROOT = Path(next(iter(find_spec("vllm").submodule_search_locations)))
READ_BY_US = {"content-type", "content-length", "if-match"}

_READ = re.compile(r"""headers(?:\.get\(|\[)\s*(?:"([^"]+)"|'([^']+)'|([A-Z_]{4,})\b)""")


def read_by_vllm() -> Iterator[str]:
    """Headers of requests that vLLM's HTTP layer reads by name, from its source."""
    sources = [file.read_text() for file in (ROOT / "entrypoints").rglob("*.py")]
    constants: dict[str, str] = {}
    for source in sources:
        constants |= dict(re.findall(r'^([A-Z_]{4,}) = "([^"]+)"$', source, re.MULTILINE))
    for source in sources:
        for plain, quoted, constant in _READ.findall(source):
            yield (plain or quoted or constants[constant]).lower()
    traced = re.search(r"TRACE_HEADERS = \[(.*)\]", (ROOT / "tracing/utils.py").read_text())
    assert traced
    yield from re.findall(r'"(.+?)"', traced[1])


VLLMS = sorted(set(read_by_vllm()))
OTHERS = [
    *("host", "x-request-id", "authorization", "cookie", "origin", "referer", "user-agent"),
    *("x-forwarded-for", "forwarded", "x-original-url", "x-http-method-override", "accept"),
    *("content-encoding", "transfer-encoding", "expect", "via", "te", "trailer", "upgrade"),
    *("x-vllm-anything-new", "x-correlation-id", "baggage", "b3", "x-b3-traceid", "priority"),
]


async def echo(request: Request) -> JSONResponse:
    return JSONResponse(sorted({name.decode() for name, _ in request.scope["headers"]}))


@pytest.fixture(scope="module")
def http() -> TestClient:
    app = Starlette(routes=[Route("/v1/completions", echo, methods=["POST"])])
    return TestClient(Guard(app, **guarded("k", routes=app.routes)))


def test_what_vllm_reads_is_found_in_its_source():
    known = {"endpoint-load-metrics-format", "x-session-id", "x-vllm-priority", "traceparent"}
    assert known <= set(VLLMS)


@pytest.mark.parametrize("name", sorted({*VLLMS, *OTHERS} - READ_BY_US))
def test_a_header_that_no_route_of_ours_reads_reaches_none(http, name):
    spelled = {name: "1", "Authorization": "Bearer k"}
    if name == "authorization":
        spelled = {"Authorization": "Bearer k"}
    for spelling in (str.lower, str.upper, str.title):
        headers = {spelling(key): value for key, value in spelled.items()}
        if name == "content-encoding":
            headers = {**headers, spelling(name): "identity"}
        answer = http.post("/v1/completions", headers=headers, content=b"{}")
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) <= READ_BY_US


def test_what_goes_on_is_what_our_routes_read():
    assert {name.decode() for name in PASSED_HEADERS} == READ_BY_US
    source = "\n".join(
        file.read_text()
        for folder in ("routes", "generation", "edge")
        for file in (Path(__file__).parents[4] / "server" / folder).rglob("*.py")
        if file.name not in ("guard.py", "cors.py")
    )
    read = set(re.findall(r'(?:request\.)headers\.get\("([a-z-]+)"', source))
    read |= set(re.findall(r'\bheaders\.get\("([a-z-]+)", ', source))
    assert read <= READ_BY_US


@pytest.mark.parametrize(
    "name", ["authorization", "content-type", "content-length", "host", "if-match", "origin"]
)
def test_a_header_that_says_one_thing_is_not_taken_twice(name):
    """A proxy may have read the other one."""
    seen: list[object] = []

    async def app(scope, receive, send) -> None:
        seen.append(scope)

    values = {"authorization": "Bearer k", "content-length": "2"}
    value = values.get(name, "x").encode()
    headers = [(b"authorization", b"Bearer k"), (name.encode(), value), (name.encode(), value)]
    http = TestClient(Guard(app, **guarded("k")))
    answer = http.request("POST", "/x", headers=headers, content=b"{}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert seen == []
