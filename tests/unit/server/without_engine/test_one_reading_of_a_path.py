"""Every route of the app × every spelling of its path: the guard, the mixing and the route that
serves have read the same, or nothing is served.

Over a real socket, so that what the HTTP parser makes of a target is part of it. Who asks is a user
who sees one adapter; whatever is reached, it must be by that user's rights, under the route that
the guard has found, and with a plan where something is generated.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

import pytest
from starlette.routing import Route

from server.access.matched_route import MatchedRoute, matched_route
from server.access.rights import GRANTED, RIGHTS, Right
from server.app import _ENGINE_ROUTES, OWN_MODULES
from server.engine.client.plan import running_plan
from tests.support.bare_server import GENERATING, BareServer
from tests.support.listening import Line, listening
from tests.unit.server.without_engine.conftest import HIDDEN, SEEN

BODIES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "one"}]},
    "/v1/completions": {"prompt": "one"},
    "/v1/responses": {"input": "one"},
    "/tokenize": {"prompt": "one"},
    "/detokenize": {"tokens": [1]},
}
"""Routes by whose bodies an adapter is named."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY")
UNSEEN = [
    *(f"%{code:02X}" for code in (*range(0x20), 0x7F)),
    *map(quote, ("\x85", "\u2028", "\u2029", "\u00a0", "\u200b", "\u202e", "\ufeff", "\U000e0041")),
]
ENDS = [
    *(
        "/",
        "//",
        "/.",
        "/..",
        "/%2e",
        "%2F",
        "%20",
        ";",
        ";x=1",
        ".json",
        "\\",
        "%5C",
        "%3F",
        "%23",
    ),
    *("%25%30%41", "%250A", "%FF", "%C0%8A", "%u000A", "?", "?x=%0A", "#x", "*", "&model=maths"),
]
BEGINNINGS = ("/", "//", "/.", "/x/..", "/%2e%2e", "/v1/..", "\\", "http://x", "http://x:1", "//x")
TEMPLATES = sorted(
    {route.path for module in OWN_MODULES for route in module.router.routes} | set(_ENGINE_ROUTES)
)


def filled(template: str) -> str:
    for parameter in ("{name:path}", "{name}"):
        template = template.replace(parameter, SEEN)
    return template.replace("{", "").replace("}", "")


def spellings(path: str) -> Iterator[str]:
    """Ways to write a path that some reader may take for it."""
    middle = len(path) // 2
    yield path
    for unseen in UNSEEN:
        yield path + unseen
        yield path[:middle] + unseen + path[middle:]
        yield "/" + unseen + path[1:]
    yield from (path + end for end in ENDS)
    yield from (beginning + path for beginning in BEGINNINGS)
    yield from (path.upper(), path.title(), path[:-1] + path[-1].upper())
    yield "/" + "".join(f"%{ord(letter):02X}" for letter in path[1:])
    yield "/" + "".join(f"%{ord(letter):02x}" if letter != "/" else "/" for letter in path[1:])
    yield path.replace("/", "%2F")
    yield path.replace("/", "%252F")
    yield path.replace("/", "//")
    yield path.replace("e", "%C3%A9").replace("o", "%D0%BE")


@dataclass
class Reached:
    """What came to a route: which one, what the guard says of it, and whether there was a plan."""

    found: list[tuple[Route, MatchedRoute | None, bool]] = field(default_factory=list)

    def watch(self, route: Route) -> None:
        """Note whatever comes to a route, on its way."""
        serve = route.app

        async def noting(scope, receive, send) -> None:
            self.found.append((route, matched_route(scope), running_plan() is not None))
            await serve(scope, receive, send)

        route.app = noting


@dataclass
class Asked:
    """A server on a socket, what reaches its routes, and the key of a user who sees one adapter."""

    line: Line
    reached: Reached
    user: dict[str, str]
    routes: list[Route]

    def ask(
        self, method: str, target: str, body: object = None, *, has_key: bool = True
    ) -> tuple[int, dict]:
        """Status and error of an answer to the user, or to somebody without a key."""
        headers = self.user if has_key else {}
        raw = b"" if body is None else json.dumps(body).encode()
        self.reached.found.clear()
        status, told, content = self.line.ask(
            method, target, {**headers, "Content-Type": "application/json"}, raw
        )
        is_ours = told.get("content-type") == "application/json" and status >= 400 and content
        return status, json.loads(content)["error"] if is_ours else {}

    def check(self, method: str, what: object) -> None:
        """Whatever was reached was reached rightly."""
        for route, found, has_plan in self.reached.found:
            served = "GET" if method == "HEAD" else method
            assert found == MatchedRoute(served, route.path), what
            assert RIGHTS[served, route.path] in GRANTED["user"], what
            assert has_plan is (route.path in GENERATING), what


@pytest.fixture(scope="module")
def asked(shared: BareServer, user: dict[str, str]) -> Iterator[Asked]:
    reached = Reached()
    for route in shared.app.routes:
        reached.watch(route)
    with listening(shared.app) as port:
        line = Line(port)
        yield Asked(line, reached, user, list(shared.app.routes))
        line.close()


def methods_of(template: str) -> set[str]:
    return {method for method, path in RIGHTS if path == template}


def test_the_walk_visits_every_route_of_the_app(asked):
    visited = {route.path for route in asked.routes}
    assert set(TEMPLATES) <= visited
    assert visited - set(TEMPLATES) == {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}


@pytest.mark.parametrize("template", TEMPLATES)
def test_whatever_the_spelling_what_serves_is_what_was_checked(asked, template):
    for method in sorted(methods_of(template)):
        body = {"model": SEEN, **BODIES[template]} if template in BODIES else {}
        for target in spellings(filled(template)):
            status, _ = asked.ask(method, target, body)
            asked.check(method, (method, target))
            assert asked.reached.found or status in (400, 403, 404, 405), (method, target, status)


@pytest.mark.parametrize("template", sorted(BODIES))
def test_whatever_the_spelling_a_hidden_adapter_is_not_there(asked, template):
    body = {"model": HIDDEN, **BODIES[template]}
    for target in spellings(template):
        status, error = asked.ask("POST", target, body)
        assert asked.reached.found == [], target
        assert status in (400, 404, 405), target
        if status == 404 and error["code"] != "not_found":
            assert error["code"] == "model_not_found"


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_character_that_cannot_be_seen_leads_nowhere(asked, template):
    path = filled(template)
    for method in sorted(methods_of(template)):
        for unseen in UNSEEN:
            for target in (path + unseen, f"/{unseen}{path[1:]}", path[:3] + unseen + path[3:]):
                status, error = asked.ask(method, target, {})
                assert asked.reached.found == []
                if method != "HEAD":
                    assert (status, error["code"]) == (404, "not_found"), target
                assert asked.ask(method, target, {}, has_key=False)[0] == 401


@pytest.mark.parametrize("template", TEMPLATES)
def test_whatever_the_method_what_serves_is_what_was_checked(asked, template):
    path, known = filled(template), methods_of(template)
    body = {"model": SEEN, **BODIES[template]} if template in BODIES else {}
    for method in METHODS:
        status, _ = asked.ask(method, path, body)
        asked.check(method, (method, path))
        if ("GET" if method == "HEAD" else method) not in known:
            assert not asked.reached.found
            assert status == 405, method
    for override in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        asked.reached.found.clear()
        headers = {**asked.user, override: "DELETE"}
        asked.line.ask("GET", f"{path}?_method=DELETE", headers)
        asked.check("GET", override)


@pytest.mark.parametrize("template", TEMPLATES)
def test_whatever_the_spelling_without_a_key_only_health_is_told(asked, template):
    for method in sorted(methods_of(template)):
        for target in spellings(filled(template)):
            status, _ = asked.ask(method, target, {}, has_key=False)
            if asked.reached.found:
                assert RIGHTS[method, asked.reached.found[0][0].path] is Right.NOTHING
            else:
                assert status in (400, 401), (method, target)
