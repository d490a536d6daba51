"""Tokenising names no adapter that the caller does not see."""

from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from server.access.keys import ALL_ADAPTERS, AdapterRule, Caller
from server.access.matched_route import STATE_KEY, match_route
from server.catalogue.visibility import narrowed
from server.edge.body.json_body import ReadRequest
from server.edge.settings import LimitSettings
from server.generation.tokenise import ROUTES, TokeniseMiddleware
from tests.unit.server.generation.test_selection import NAMES

PATHS = [route.path for route in ROUTES]


async def echo(request: Request) -> JSONResponse:
    read = ReadRequest(request.scope, request.receive)
    assert int(read.headers["content-length"]) == len(await read.body())
    return JSONResponse(await read.json())


def client(rule: AdapterRule) -> TestClient:
    """A client whose key has this allow-list."""
    app = Starlette(routes=[Route(path, echo, methods=["POST"]) for path in (*PATHS, "/other")])
    catalogue = SimpleNamespace(visible_to=lambda rule: narrowed(NAMES, {}, rule))
    tokenise = TokeniseMiddleware(app, catalogue, LimitSettings())

    async def with_caller(scope, receive, send) -> None:
        if scope["type"] == "http":
            found = match_route(scope, app.routes)
            scope["state"] = {"caller": Caller("k", "user", rule), STATE_KEY: found}
        await tokenise(scope, receive, send)

    return TestClient(with_caller)


@pytest.mark.parametrize("path", sorted(PATHS))
def test_hidden_adapters_are_as_unknown_as_others(path):
    http = client(AdapterRule(("maths",)))
    told = {}
    for name in ("code", "nope"):
        answer = http.post(path, json={"model": name, "prompt": "x"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
        told[name] = answer.text.replace(f"'{name}'", "?")
    assert told["code"] == told["nope"]
    assert client(ALL_ADAPTERS).post(path, json={"model": "code"}).json() == {"model": "code"}


@pytest.mark.parametrize("model", ["Tiny-1M", "auto", "maths", "", None])
def test_what_is_seen_passes(model):
    body = {"model": model, "prompt": "é"}
    told = client(AdapterRule(("maths",))).post("/tokenize", json=body).json()
    assert told == (body if model is not None else {"prompt": "é"})


def test_the_engine_reads_the_name_that_was_checked():
    http = client(AdapterRule(("maths",)))
    headers = {"Content-Type": "application/json"}
    for body in (b'{"model": "code", "model": "maths"}', b'{"\\u006dodel": "maths"}'):
        assert http.post("/tokenize", content=body, headers=headers).json() == {"model": "maths"}
    hidden = b'{"model": "maths", "\\u006dodel": "code"}'
    assert http.post("/tokenize", content=hidden, headers=headers).status_code == 404
    assert http.post("/tokenize", content=b"{", headers=headers).status_code == 400


def test_other_routes_are_left_alone():
    body = {"model": "code"}
    assert client(AdapterRule(())).post("/other", json=body).json() == body
