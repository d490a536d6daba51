import asyncio
import json

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDisconnect

from server.edge.guard import Guard
from server.edge.settings import LimitSettings
from server.errors import Unauthorized
from tests.support.access import callers_of, guarded


async def echo(request: Request) -> JSONResponse:
    size = 0
    if request.method == "POST":
        try:
            size = len(await request.body())
        except Exception as error:  # noqa: BLE001 - a route may turn anything into its own error
            return JSONResponse({"swallowed": str(error)}, 400)
    return JSONResponse(
        {
            "size": size,
            "tenant": request.state.tenant,
            "id": request.state.request_id,
            "headers": dict(request.headers),
        }
    )


async def talk(websocket) -> None:
    await websocket.accept()
    await websocket.close()


def client(*keys: str, body: int = 2048, upload: int = 4096) -> TestClient:
    methods = ["GET", "POST"]
    paths = ("/v1/anything", "/v1/adapters", "/health", "/ready", "/healthy", "/metrics")
    app = Starlette(
        routes=[*(Route(p, echo, methods=methods) for p in paths), WebSocketRoute("/ws", talk)]
    )
    limits = LimitSettings(max_body_bytes=body, max_upload_bytes=upload)
    return TestClient(Guard(app, **guarded(*keys, limits=limits, routes=app.routes)))


def code(response: httpx.Response) -> str:
    return response.json()["error"]["code"]


def test_without_keys_everybody_is_the_same_tenant():
    assert client().get("/v1/anything").json()["tenant"] == ""


def test_with_keys_each_key_is_its_own_tenant():
    http = client("one", "two")
    tenants = {
        http.get("/v1/anything", headers={"Authorization": f"Bearer {key}"}).json()["tenant"]
        for key in ("one", "two", "one")
    }
    assert len(tenants) == 2
    assert not {"one", "two"} & tenants


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic one",
        "one",
        "Bearer one two",
        "Bearer É",
    ],
)
def test_anything_but_a_known_key_is_refused(header):
    headers = {} if header is None else {"Authorization": header.encode()}
    response = client("one").get("/v1/anything", headers=headers)
    assert response.status_code == 401
    assert code(response) == "invalid_api_key"
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/v1/adapters", "/metrics", "/healthy", "/docs", "/no/such"])
def test_every_path_but_the_health_checks_needs_a_key(path):
    assert client("one").get(path).status_code == 401


def test_health_checks_need_none_but_only_for_reading():
    http = client("one")
    assert http.get("/health").status_code == 200
    assert http.get("/ready").status_code == 200
    assert http.post("/health").status_code == 401


def test_the_host_header_decides_nothing():
    response = client("one").get("/v1/anything", headers={"Host": "localhost"})
    assert response.status_code == 401


def test_websockets_are_refused():
    with pytest.raises(WebSocketDisconnect), client().websocket_connect("/ws"):
        pass


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1.evil.example"])
def test_foreign_pages_cannot_use_a_server_without_keys(origin):
    response = client().post("/v1/anything", headers={"Origin": origin})
    assert (response.status_code, code(response)) == (403, "cross_origin_refused")


def test_local_pages_and_plain_clients_can():
    http = client()
    assert http.post("/v1/anything").status_code == 200
    for origin in ("http://127.0.0.1:8000", "http://localhost:3000", "http://[::1]:8000"):
        assert http.post("/v1/anything", headers={"Origin": origin}).status_code == 200


def test_headers_that_steer_the_scheduler_are_taken_out():
    steering = {"X-Vllm-Priority": "9", "X-data-parallel-rank": "1", "X-Session-ID": "s"}
    seen = client().get("/v1/anything", headers={**steering, "X-Request-Id": "mine"}).json()
    assert not {"x-vllm-priority", "x-data-parallel-rank", "x-session-id", "x-request-id"} & set(
        seen["headers"]
    )


def test_a_sane_request_id_comes_back_and_a_strange_one_is_replaced():
    http = client()
    assert http.get("/health", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    for strange in ("a b", "x" * 65, "a/b", ""):
        answer = http.get("/health", headers={"X-Request-Id": strange})
        assert answer.headers["x-request-id"] not in ("", strange)
    assert client("k").get("/v1/anything").headers["x-request-id"]


def test_a_body_over_the_limit_is_refused_by_its_length():
    response = client().post("/v1/anything", content=b"x" * 2049)
    assert (response.status_code, code(response)) == (413, "request_too_large")
    assert client().post("/v1/anything", content=b"x" * 2048).json()["size"] == 2048


def test_a_chunked_body_over_the_limit_is_refused_whatever_the_route_makes_of_it():
    response = client().post("/v1/anything", content=iter([b"x" * 1500] * 2))
    assert (response.status_code, code(response)) == (413, "request_too_large")
    assert client().post("/v1/anything", content=iter([b"x" * 1000] * 2)).json()["size"] == 2000


def test_uploads_have_a_limit_of_their_own():
    assert client().post("/v1/adapters", content=b"x" * 4000).status_code == 200
    assert client().post("/v1/adapters", content=b"x" * 4097).status_code == 413


@pytest.mark.parametrize("length", [b"9" * 5000, b"-1", b"1e3", b"\xb2"])
def test_an_absurd_length_is_refused(length):
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/anything",
        "headers": [(b"content-length", length)],
    }
    sent: list[dict] = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    async def never(scope, receive, send):
        pytest.fail("reached the app")

    asyncio.run(Guard(never, **guarded())(scope, receive, send))
    assert sent[0]["status"] == 413
    assert json.loads(sent[1]["body"])["error"]["code"] == "request_too_large"


def test_keys_compare_whole_keys():
    callers = callers_of("sesame")
    assert callers.identify("Bearer sesame").role == "admin"
    for wrong in ("Bearer sesam", "Bearer sesamee", "Bearer SESAME"):
        with pytest.raises(Unauthorized):
            callers.identify(wrong)
