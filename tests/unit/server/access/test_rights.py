"""Which role may call which route: each is declared, and what is not is for admins."""

import itertools

import pytest
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.testclient import TestClient

from server.access.key_refresh import KeyRefresh
from server.access.keys import ROLES
from server.access.limits import Limiter
from server.access.matched_route import STATE_KEY, MatchedRoute, match_route, matched_route
from server.access.rights import GRANTED, RIGHTS, Right, required
from server.access.rows import KeyRows
from server.app import _ENGINE_ROUTES, _OWN_PAGES, OWN_MODULES
from server.edge.guard import Guard
from server.edge.settings import LimitSettings
from tests.support.access import callers_of, database, made

OURS = {
    (method, one.path)
    for module in OWN_MODULES
    for one in module.router.routes
    for method in one.methods - {"HEAD"}
}
BY_ROLE = {
    "user": {Right.NOTHING, Right.ANY_KEY, Right.USE},
    "metrics": {Right.NOTHING, Right.ANY_KEY, Right.MONITOR},
    "admin": set(Right),
}


@pytest.mark.parametrize(("method", "path"), sorted(OURS))
def test_every_route_of_ours_has_a_declared_right(method, path):
    assert (method, path) in RIGHTS


def test_the_engines_routes_have_one_and_nothing_else_does():
    foreign = set(RIGHTS) - OURS
    assert {path for _, path in foreign} == {*_ENGINE_ROUTES, *_OWN_PAGES}


def test_whatever_changes_something_is_for_admins():
    # Not even admins set llama.cpp's global scales: everybody hears why.
    unchanging = ("/v1/route", "/lora-adapters", *_ENGINE_ROUTES)
    reads = {("POST", path) for path in unchanging}
    for (method, path), right in RIGHTS.items():
        if method != "GET" and (method, path) not in reads:
            assert right is Right.ADMINISTER, path


def test_only_the_health_checks_need_no_key():
    free = {path for (_, path), right in RIGHTS.items() if right is Right.NOTHING}
    assert free == {"/health", "/ready"}


def test_roles_are_granted_what_they_are_for():
    assert set(GRANTED) == set(ROLES)
    assert {role: set(rights) for role, rights in GRANTED.items()} == BY_ROLE


def answered(request: Request) -> PlainTextResponse:
    return PlainTextResponse("served")


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """All routes by their templates, each answering at once; and some that nobody has declared."""
    app = FastAPI(redirect_slashes=False)
    for method, path in RIGHTS:
        if path not in _OWN_PAGES:
            app.router.routes.append(Route(path, answered, methods=[method]))
    late = APIRouter()
    late.add_api_route("/v1/brand-new", answered, methods=["GET"])
    app.include_router(late)
    app.router.routes.append(Mount("/mounted", routes=[Route("/x", answered)]))
    return app


@pytest.fixture(scope="module")
def by_role(app, tmp_path_factory) -> dict[str | None, TestClient]:
    """Clients with a key of each role, and one without."""
    rows = KeyRows(database(tmp_path_factory.mktemp("keys")))
    keys = {role: made(rows, role)[0] for role in ROLES}
    callers = callers_of()
    KeyRefresh(rows, callers)
    guard = Guard(app, callers, Limiter(), LimitSettings(), lambda: app.router.routes)
    headers = {role: {"Authorization": f"Bearer {key}"} for role, key in keys.items()}
    return {role: TestClient(guard, headers=headers.get(role)) for role in (None, *ROLES)}


def filled(path: str) -> str:
    return path.replace("{name:path}", "x").replace("{", "").replace("}", "")


@pytest.mark.parametrize(
    ("role", "right"), list(itertools.product((None, *ROLES), Right)), ids=lambda one: str(one)
)
def test_each_role_gets_what_it_may(by_role, role, right):
    paths = [(m, p) for (m, p), needed in RIGHTS.items() if needed is right]
    for method, path in paths:
        answer = by_role[role].request(method, filled(path))
        if role is None and right is not Right.NOTHING:
            assert answer.status_code == 401, path
        elif role is None or right in BY_ROLE[role]:
            assert answer.status_code == 200, path
        else:
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (403, "permission_denied"), path
            assert error["type"] == "permission_error"


@pytest.mark.parametrize("path", ["/v1/brand-new", "/mounted/x"])
def test_a_route_without_a_declared_right_is_for_admins(by_role, path):
    told = [by_role[role].get(path).status_code for role in (None, "metrics", "user", "admin")]
    assert told == [401, 403, 403, 200]


def test_what_is_not_there_is_told_to_any_key_and_to_nobody_else(by_role):
    for method, path, status in (("GET", "/nope", 404), ("PATCH", "/v1/adapters", 405)):
        assert by_role[None].request(method, path).status_code == 401
        for role in ROLES:
            assert by_role[role].request(method, path).status_code == status


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/adapters/", "//v1/adapters", "/v1/./adapters", "/V1/adapters", "/v1/adapters;x"),
        *("/health/../v1/adapters", "/health/v1/adapters", "/healthx", "/v1/adapters%2fx%2fy"),
    ],
)
def test_no_other_spelling_of_a_path_comes_further(by_role, path):
    """The route that serves decides: what it does not match is not served either."""
    for method in ("POST", "DELETE", "PUT"):
        assert by_role[None].request(method, path).status_code == 401
        assert by_role["user"].request(method, path).status_code in (403, 404, 405)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost"},
        {"Host": "127.0.0.1:8000/health"},
        {"X-Forwarded-Host": "localhost", "X-Forwarded-For": "127.0.0.1"},
        {"X-Original-URL": "/health", "X-Rewrite-URL": "/health"},
        {"X-HTTP-Method-Override": "GET"},
        {"Forwarded": "for=127.0.0.1;host=localhost"},
    ],
)
def test_no_header_but_the_key_decides(by_role, headers):
    assert by_role[None].get("/v1/audit", headers=headers).status_code == 401
    assert by_role["user"].get("/v1/audit", headers=headers).status_code == 403
    assert by_role["user"].delete("/v1/adapters/x", headers=headers).status_code == 403


def test_a_look_at_the_headers_needs_what_a_reading_does():
    scope = {"type": "http", "path": "/v1/audit", "root_path": "", "headers": []}
    routes = [Route("/v1/audit", answered)]
    for method in ("GET", "HEAD"):
        found = match_route({**scope, "method": method}, routes)
        assert required(found) is Right.ADMINISTER


def test_the_first_route_that_takes_path_and_method_serves():
    scope = {"type": "http", "method": "GET", "path": "/a/b", "root_path": "", "headers": []}
    wrong = [Route("/a", answered), Route("/a/{name}", answered, methods=["POST"])]
    assert match_route(scope, wrong) is None
    right = [Route("/a/{name}", answered), Route("/a/b", answered)]
    assert match_route(scope, [*wrong, *right]) == MatchedRoute("GET", "/a/{name}")


def test_a_route_without_a_template_is_found_by_nobodys_right():
    class Anything(BaseRoute):
        def matches(self, scope):
            return Match.FULL, {}

    scope = {"type": "http", "method": "GET", "path": "/a", "root_path": "", "headers": []}
    found = match_route(scope, [Anything()])
    assert found == MatchedRoute("GET", "")
    assert required(found) is Right.ADMINISTER


def test_whoever_is_further_in_asks_what_the_guard_has_found():
    found = MatchedRoute("GET", "/a")
    assert matched_route({"state": {STATE_KEY: found, "other": 1}}) is found
    assert matched_route({"state": {STATE_KEY: None}}) is None


@pytest.mark.parametrize("path", ["/health\n", "/health\0", "/\x85health", "/health\u2028"])
def test_a_path_with_what_cannot_be_seen_has_no_route(path):
    """A pattern that ends in ``$`` matches before a last line break."""
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
    assert match_route(scope, [Route("/health", answered)]) is None
    assert required(None) is Right.ANY_KEY
