from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from server.edge.errors.error_shape import ErrorShape, handle_errors
from server.edge.guard import Guard
from server.routes import traces
from server.traces.store import TraceStore
from server.traces.trace import TraceHead, TraceStep
from tests.support.access import callers_of, guarded

MATHS, CODE = {"maths": 0.75, "code": 0.25}, {"code": 1.0}


class Served:
    """The route behind the layers that stand before it in the app."""

    def __init__(self, *keys: str) -> None:
        self.store = TraceStore()
        self.callers = callers_of(*keys)
        told = guarded(*keys, routes=traces.router.routes)
        guard = Middleware(Guard, **{**told, "callers": self.callers})
        app = FastAPI(middleware=[guard, Middleware(ErrorShape)], redirect_slashes=False)
        app.include_router(traces.router)
        handle_errors(app)
        app.state.parts = SimpleNamespace(traces=self.store)
        self.http = TestClient(app, raise_server_exceptions=False)

    def record(self, request_id: str, tenant: str = ""):
        head = TraceHead(request_id, "auto", "1a2b", "token", 2, "cat", ("code", "maths"))
        recording = self.store.begin(tenant, head, [TraceStep(0, MATHS)])
        recording.add(2, CODE)
        recording.generated(3)
        return recording


def test_a_trace_is_told_while_it_runs_and_afterwards():
    served = Served()
    recording = served.record("r-1")
    running = served.http.get("/v1/traces/r-1")
    assert running.status_code == 200
    assert running.json() == recording.trace.as_json()
    recording.finish()
    assert served.http.get("/v1/traces/r-1").json() == {**running.json(), "finished": True}


def test_expansion_has_a_step_for_each_token():
    served = Served()
    served.record("r-1").finish()
    plain = served.http.get("/v1/traces/r-1").json()["choices"][0]
    each = served.http.get("/v1/traces/r-1", params={"expand": "true"}).json()["choices"][0]
    assert [step["weights"] for step in each.pop("per_token")] == [MATHS, MATHS, CODE]
    assert each == plain


def missing(response) -> str:
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "trace_not_found")
    assert error["type"] == "invalid_request_error"
    return error["message"]


def test_another_tenants_trace_is_as_if_it_had_never_been():
    served = Served("one", "two")
    served.record("r-1", served.callers.identify("Bearer one").id).finish()

    def ask(key: str, request_id: str):
        headers = {"Authorization": f"Bearer {key}"}
        return served.http.get(f"/v1/traces/{request_id}", headers=headers)

    assert ask("one", "r-1").json()["id"] == "r-1"
    told = missing(ask("two", "r-1"))
    never = missing(ask("two", "r-2"))
    assert told.replace("r-1", "r-2") == never
    assert served.http.get("/v1/traces/r-1").status_code == 401


@pytest.mark.parametrize("request_id", ["nope", "x" * 3000, "%F0%9F%98%80", "a b"])
def test_an_unknown_id_is_told_in_a_few_words(request_id):
    message = missing(Served().http.get(f"/v1/traces/{request_id}"))
    assert len(message) < 400


def test_a_discarded_trace_is_gone():
    served = Served()
    served.record("r-1").discard()
    missing(served.http.get("/v1/traces/r-1"))


def test_a_wrong_option_is_told():
    served = Served()
    served.record("r-1")
    answer = served.http.get("/v1/traces/r-1", params={"expand": "maybe"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "expand")
