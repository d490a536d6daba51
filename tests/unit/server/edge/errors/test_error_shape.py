import json
import logging

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.testclient import TestClient

from adapters.errors import RankTooLarge
from server.edge.errors.error_shape import ErrorShape, handle_errors
from server.edge.guard import Guard
from server.engine.errors import EngineLoadError
from tests.support.access import guarded


class Body(BaseModel):
    name: str
    size: int | list[int]


@pytest.fixture(scope="module")
def http() -> TestClient:
    guard = Middleware(Guard, **guarded())
    app = FastAPI(middleware=[guard, Middleware(ErrorShape)], redirect_slashes=False)

    @app.get("/bug")
    def bug() -> None:
        raise KeyError("secret of /srv/place")

    @app.get("/rank")
    def rank() -> None:
        raise RankTooLarge("rank 99 is too large")

    @app.get("/text")
    def text() -> PlainTextResponse:
        return PlainTextResponse("no", 503)

    @app.get("/foreign")
    def foreign() -> JSONResponse:
        return JSONResponse({"error": {"message": "bad", "type": "X", "code": 422}}, 422)

    @app.get("/stream")
    def stream() -> StreamingResponse:
        return StreamingResponse(iter([b"a", b"b"]))

    @app.post("/body")
    def body(given: Body) -> dict[str, str]:
        return {"name": given.name}

    handle_errors(app)
    return TestClient(app, raise_server_exceptions=False)


def error(response, status: int) -> dict:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(response.content)
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return body["error"]


def test_a_bug_is_told_in_general_words_and_logged_under_the_requests_id(http, caplog):
    with caplog.at_level(logging.ERROR):
        response = http.get("/bug", headers={"X-Request-Id": "r-1"})
    told = error(response, 500)
    assert told["code"] == "internal_error"
    assert "secret" not in response.text
    assert response.headers["x-request-id"] == "r-1"
    assert any("r-1" in record.getMessage() and record.exc_info for record in caplog.records)


def test_our_errors_keep_their_codes(http):
    assert error(http.get("/rank"), 400)["code"] == "adapter_rank_too_large"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "not_found"),
        ("PUT", "/body", 405, "method_not_allowed"),
        ("GET", "/text", 503, "overloaded"),
        ("GET", "/foreign", 400, "invalid_request"),
    ],
)
def test_other_errors_get_the_shape_too(http, method, path, status, code):
    assert error(http.request(method, path), status)["code"] == code


def test_answers_that_are_no_errors_pass(http):
    assert http.get("/stream").content == b"ab"
    assert http.post("/body", json={"name": "x", "size": 1}).json() == {"name": "x"}


def test_a_fault_of_the_body_names_its_field(http):
    told = error(http.post("/body", json={"name": 3, "size": "x"}), 400)
    assert told["param"] == "name"
    assert told["message"] == "'name' must be a text; 'size' must be a whole number or a list"


def test_a_body_that_is_no_json_is_told(http):
    headers = {"Content-Type": "application/json"}
    assert error(http.post("/body", content=b"{", headers=headers), 400)["code"] == "invalid_json"


def test_the_input_is_not_echoed(http):
    response = http.post("/body", json={"name": ["x" * 10_000], "size": 1})
    assert len(json.dumps(error(response, 400))) < 500


def dying(*, failed: bool) -> TestClient:
    """An app that fails in every way, before or after its engine has died."""
    app = FastAPI(middleware=[Middleware(ErrorShape, engine_failed=lambda: failed)])

    @app.get("/bug")
    def bug() -> None:
        raise KeyError("secret of /srv/place")

    @app.get("/load")
    def load() -> None:
        raise EngineLoadError("the engine refused adapter 1a2b3c")

    @app.get("/vllms")
    def vllms() -> JSONResponse:
        return JSONResponse({"error": {"message": "EngineCore died", "code": 500}}, 500)

    @app.get("/clients")
    def clients() -> None:
        raise RankTooLarge("rank 99 is too large")

    @app.get("/fine")
    def fine() -> str:
        return "fine"

    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize("path", ["/bug", "/load", "/vllms"])
def test_what_fails_once_the_engine_has_died_fails_for_that(path):
    answer = dying(failed=True).get(path)
    assert error(answer, 503)["code"] == "engine_failed"
    assert int(answer.headers["retry-after"]) > 0
    assert error(dying(failed=False).get(path), 503 if path == "/load" else 500)["code"] != (
        "engine_failed"
    )


def test_an_engine_that_has_died_is_not_to_blame_for_everything():
    http = dying(failed=True)
    assert error(http.get("/clients"), 400)["code"] == "adapter_rank_too_large"
    assert error(http.get("/nowhere"), 404)["code"] == "not_found"
    assert http.get("/fine").json() == "fine"
