"""HTTP's own manners: HEAD wherever GET is, packed bodies, and web pages of other origins."""

import gzip
import json

import pytest
from starlette.middleware import Middleware
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient

from server.access.limits import Limiter
from server.access.rights import RIGHTS, Right
from server.edge.cors import METHODS, READABLE, Cors
from server.edge.errors.error_shape import ErrorShape
from server.edge.guard import Guard
from server.edge.head import HeadAsGet
from server.edge.settings import CorsSettings, LimitSettings
from server.errors import InvalidSettings
from server.settings import load_settings
from tests.support.access import callers_of
from tests.unit.server.without_engine.conftest import PAGE, SEEN
from tests.unit.server.without_engine.test_one_reading_of_a_path import TEMPLATES, filled

NOBODY = {"Authorization": ""}
SAY = {"model": "tiny-llama", "prompt": "one"}
GETS = sorted(path for path in TEMPLATES if ("GET", path) in RIGHTS)


@pytest.mark.parametrize("template", [*GETS, "/openapi.json", "/docs"])
def test_head_is_get_without_its_body(shared, template):
    path = filled(template)
    told, whole = shared.http.head(path), shared.http.get(path)
    assert (told.status_code, told.content) == (whole.status_code, b"")
    assert whole.status_code == 200 or whole.content
    timed = {"date", "x-request-id"}
    if template not in ("/metrics", "/ready"):
        assert {k: v for k, v in told.headers.items() if k not in timed} == {
            k: v for k, v in whole.headers.items() if k not in timed
        }


@pytest.mark.parametrize("template", GETS)
def test_head_needs_the_key_that_get_needs(shared, user, template):
    for headers in (NOBODY, user):
        told = [
            getattr(shared.http, ask)(filled(template), headers=headers).status_code
            for ask in ("head", "get")
        ]
        assert told[0] == told[1]


def test_head_is_refused_where_there_is_no_get(shared):
    answer = shared.http.head("/v1/completions")
    assert (answer.status_code, answer.content) == (405, b"")
    assert shared.http.put("/health").headers["allow"] == "GET, HEAD"


def test_a_packed_body_is_read_by_every_kind_of_route(shared):
    sent = [
        ("POST", "/v1/completions", {**SAY, "model": SEEN}),
        ("POST", "/tokenize", SAY),
        ("POST", "/v1/route", {"input": "one"}),
        ("PUT", "/v1/policies/mine", {"kind": "uniform"}),
        ("PATCH", f"/v1/adapters/{SEEN}", {"description": "sums"}),
    ]
    packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    for method, path, body in sent:
        raw = gzip.compress(json.dumps(body).encode())
        answer = shared.http.request(method, path, content=raw, headers=packed)
        assert answer.status_code in (200, 201), (path, answer.text)
        answer = shared.http.request(method, path, content=raw[:-9], headers=packed)
        assert "ends too early" in answer.json()["error"]["message"], path
        zipped = {**packed, "Content-Encoding": "br"}
        answer = shared.http.request(method, path, content=raw, headers=zipped)
        assert answer.status_code == 415


def asks(method: str, origin: str = PAGE, headers: str = "authorization, content-type") -> dict:
    """What a browser asks beforehand; it never sends a key with it."""
    return {
        **NOBODY,
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


@pytest.mark.parametrize(("method", "template"), sorted(RIGHTS))
def test_a_page_that_is_named_may_ask_without_a_key(shared, method, template):
    answer = shared.http.options(filled(template), headers=asks(method))
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert method in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{PAGE}.evil.example", ""])
def test_other_pages_may_not(shared, origin):
    refused = shared.http.options("/v1/completions", headers=asks("POST", origin))
    assert "access-control-allow-origin" not in refused.headers
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "cross_origin_refused")
    answer = shared.http.post("/v1/completions", json=SAY, headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers


def test_a_method_that_no_route_takes_is_refused_beforehand(shared):
    assert shared.http.options("/v1/completions", headers=asks("TRACE")).status_code == 403
    assert set(METHODS) - {"HEAD"} == {method for method, _ in RIGHTS}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/completions", {}, 200),
        ("/v1/completions", NOBODY, 401),
        ("/v1/nope", {}, 404),
        ("/v1/models", {}, 405),
        ("/v1/completions", {"Content-Encoding": "br"}, 415),
        ("/v1/completions", {"Content-Length": "99999999999"}, 413),
    ],
)
def test_a_page_can_read_errors_as_well_as_answers(shared, path, headers, status):
    answer = shared.http.post(path, json=SAY, headers={"Origin": PAGE, **headers})
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-expose-headers"] == ", ".join(READABLE)
    assert "Origin" in answer.headers["vary"]
    assert answer.headers["x-request-id"]


def test_a_question_needs_a_key_unless_a_browser_asks_it(shared):
    assert shared.http.options("/v1/completions", headers=NOBODY).status_code == 401
    lone = {**NOBODY, "Origin": PAGE}
    assert shared.http.options("/v1/completions", headers=lone).status_code == 401


def test_without_the_setting_no_page_is_let_in(server):
    answer = server.http.options("/v1/completions", headers=asks("POST"))
    assert answer.status_code == 401
    answer = server.http.post("/v1/completions", json=SAY, headers={"Origin": PAGE})
    assert not {name for name in answer.headers if name.startswith("access-control")}


def keyless(*origins: str) -> TestClient:
    """A server without keys, whose one route streams, or fails."""

    async def app(scope, receive, send) -> None:
        if scope["path"] == "/fails":
            raise KeyError("x")
        await StreamingResponse(iter([b"a", b"b"]))(scope, receive, send)

    settings = CorsSettings(origins=origins)
    guard = {
        "callers": callers_of(),
        "limiter": Limiter(),
        "limits": LimitSettings(),
        "routes": list,
        "origins": settings.named,
    }
    for layer in (Middleware(ErrorShape), Middleware(Guard, **guard)):
        app = layer.cls(app, **layer.kwargs)
    return TestClient(HeadAsGet(Cors(app, settings)), raise_server_exceptions=False)


def test_streams_and_failures_can_be_read():
    http = keyless(PAGE)
    for path, content in (("/", b"ab"), ("/fails", None)):
        answer = http.post(path, headers={"Origin": PAGE})
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert content is None or answer.content == content


def test_without_keys_a_page_must_be_named():
    """A star would let every page on the web use the server through its reader's browser."""
    for origins, status in (((PAGE,), 200), (("*",), 403), ((), 403), (("*", PAGE), 200)):
        answer = keyless(*origins).post("/", headers={"Origin": PAGE})
        assert answer.status_code == status, origins


@pytest.mark.parametrize("origin", ["http://[::1", "http://[", "//x", "http://a b", "\x7f"])
def test_an_origin_that_is_none_is_one_of_strangers(origin):
    assert keyless(PAGE).post("/", headers={"Origin": origin.encode()}).status_code in (400, 403)


@pytest.mark.parametrize(
    "given", ["app.example", "https://", "https://a/b", "https://u@a", "ftp://a", "https://a:x", ""]
)
def test_what_is_no_origin_is_refused_at_the_start(given):
    with pytest.raises(InvalidSettings, match=r"cors\.origins.*https://HOST"):
        load_settings({"cors": {"origins": [given]}})


def test_origins_are_kept_as_browsers_send_them():
    given = ["HTTPS://App.Example/", PAGE, "http://localhost:3000", "*"]
    assert load_settings({"cors": {"origins": given}}).cors.origins == (
        *(PAGE, "http://localhost:3000"),
        "*",
    )


def test_every_route_that_needs_no_key_is_still_one_of_the_two(shared):
    free = {path for (_, path), right in RIGHTS.items() if right is Right.NOTHING}
    for path in free:
        assert shared.http.get(path, headers={**NOBODY, "Origin": PAGE}).status_code == 200
