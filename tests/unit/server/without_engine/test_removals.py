"""A removal is a state that lists show; it ends, and what goes does not come back."""

import time
from contextlib import contextmanager

import pytest
import sqlalchemy

from adapters.errors import StorageFailed
from adapters.registry.registry import AdapterRegistry
from server.catalogue import removal
from tests.support.access import made
from tests.support.bare_server import BareServer, bare_server, files_of
from tests.unit.server.without_engine.conftest import FROM_FILE

SHORT_S = 0.05


@pytest.fixture
def server(server, tiny_adapters) -> BareServer:
    hurried(server)
    server.push("going", tiny_adapters["r8-a"], description="one two three")
    server.push("staying", tiny_adapters["r8-b"], description="a recipe for the kitchen")
    return server


def hurried(server: BareServer) -> None:
    """Let a removal be answered with a job soon."""
    settings = server.parts.settings
    wait = settings.residency.model_copy(update={"max_drain_s": SHORT_S})
    server.parts.settings = settings.model_copy(update={"residency": wait})


@contextmanager
def in_use(server: BareServer, name: str = "going"):
    """A long answer by an adapter, for the length of the block."""
    digest = server.http.get(f"/v1/adapters/{name}").json()["digest"]
    server.http.portal.call(server.parts.residency.acquire, [digest])
    try:
        yield
    finally:
        server.http.portal.call(server.parts.residency.release, [digest])


def ended(server: BareServer, job_id: str) -> dict:
    end = time.monotonic() + 10
    while (job := server.http.get(f"/v1/jobs/{job_id}").json())["state"] == "running":
        assert time.monotonic() < end
        time.sleep(0.01)
    return job


def states(server: BareServer, **options) -> dict[str, str]:
    listed = server.http.get("/v1/adapters", **options).json()["data"]
    return {adapter["id"]: adapter["state"] for adapter in listed}


def test_a_quick_removal_is_answered_as_ever(server):
    answer = server.http.delete("/v1/adapters/going")
    assert answer.status_code == 200
    assert answer.json()["deleted"] is True
    assert "location" not in answer.headers
    assert states(server) == {"staying": "serving"}
    assert server.http.get("/v1/jobs").json()["data"] == []


def test_a_removal_that_takes_long_is_a_job_and_ends(server, tiny_adapters):
    with in_use(server):
        answer = server.http.delete("/v1/adapters/going")
        assert answer.status_code == 202
        told = answer.json()
        assert (told["id"], told["deleted"], told["state"]) == ("going", False, "removing")
        job = server.http.get(answer.headers["location"]).json()
        assert job == told["job"]
        assert (job["kind"], job["name"], job["state"]) == ("removal", "going", "running")
        assert states(server) == {"going": "removing", "staying": "serving"}
        assert server.http.get("/v1/adapters/going").json()["state"] == "removing"
        again = server.http.delete("/v1/adapters/going")
        assert (again.status_code, again.json()["job"]["id"]) == (202, job["id"])
        kept = server.http.delete(f"/v1/jobs/{job['id']}").json()
        assert kept["state"] == "running", "it does not come back"
        assert states(server)["going"] == "removing"
    done = ended(server, job["id"])
    assert (done["state"], done["error"]) == ("done", None)
    assert (done["adapter"]["id"], done["adapter"]["leases"]) == ("going", 0)
    assert states(server) == {"staying": "serving"}
    assert server.http.get("/v1/adapters/going").status_code == 404
    assert server.push("going", tiny_adapters["r16"])["state"] == "serving"
    assert server.applied(model="going")["reached"]


@pytest.mark.parametrize(
    "named",
    [
        {"model": "going"},
        {"mixture": {"adapters": {"going": 1.0, "staying": 1.0}}},
        {"lora": [{"id": "going", "scale": 1.0}]},
        {"adapter_id": "going"},
    ],
)
def test_meanwhile_the_name_says_that_it_goes(server, named):
    with in_use(server):
        assert server.http.delete("/v1/adapters/going").status_code == 202
        answer = server.http.post("/v1/completions", json={"prompt": "one two three", **named})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "adapter_removing")
        assert "being removed" in answer.json()["error"]["message"]
        assert server.http.get("/v1/models/going").json()["error"]["code"] == "adapter_removing"
        assert "going" not in [m["id"] for m in server.http.get("/v1/models").json()["data"]]


def test_meanwhile_policies_do_without_it(server):
    with in_use(server):
        server.http.delete("/v1/adapters/going")
        for policy in ("auto", "even"):
            reached = server.applied(model=policy, prompt="one two three")["reached"]
            assert [name for name, _, _ in reached] == ["staying"]
        routed = server.http.post("/v1/route", json={"input": "one two three"}).json()
        assert list(routed["scores"]) == ["staying"]


def test_meanwhile_nothing_is_put_under_the_name(server, tiny_adapters):
    files = files_of(tiny_adapters["r16"])
    digest = server.http.get("/v1/adapters/going").json()["digest"]
    with in_use(server):
        server.http.delete("/v1/adapters/going")
        answers = [
            server.http.post("/v1/adapters", data={"name": "going"}, files=files),
            server.http.put("/v1/adapters/going", files=files),
            server.http.patch("/v1/adapters/going", json={"description": "back"}),
            server.http.post("/v1/adapters/going/restore", json={"digest": digest}),
        ]
        codes = [(a.status_code, a.json()["error"]["code"]) for a in answers]
        assert codes == [(409, "adapter_name_removing")] * 4
        assert states(server)["going"] == "removing"


def test_a_key_that_does_not_see_the_adapter_sees_no_removal(server):
    headers = server.holding(made(server.keys, "user", "staying")[0])
    server.parts.access.key_refresh.look()
    asked = {"headers": headers, "json": {"prompt": "one", "model": "going"}}
    before = server.http.post("/v1/completions", **asked)
    with in_use(server):
        server.http.delete("/v1/adapters/going")
        during = server.http.post("/v1/completions", **asked)
        assert (during.status_code, during.json()) == (404, before.json())
        assert states(server, headers=headers) == {"staying": "serving"}


def test_what_stops_a_removal_is_waited_for(server, monkeypatch):
    monkeypatch.setattr(removal, "RETRY_S", 0.01)
    real, refusals = AdapterRegistry.remove, []

    def refuse_twice(self, name, **options):
        if len(refusals) < 2:
            refusals.append(name)
            raise StorageFailed("the disk is full")
        return real(self, name, **options)

    monkeypatch.setattr(AdapterRegistry, "remove", refuse_twice)
    answer = server.http.delete("/v1/adapters/going")
    if answer.status_code == 202:
        ended(server, answer.json()["job"]["id"])
    assert refusals == ["going", "going"]
    assert states(server) == {"staying": "serving"}


def test_a_removal_that_cannot_begin_changes_nothing(server, monkeypatch):
    def refuse(self, name):
        raise StorageFailed("the disk is full")

    monkeypatch.setattr(AdapterRegistry, "begin_removal", refuse)
    answer = server.http.delete("/v1/adapters/going")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "adapter_storage_failed")
    assert states(server) == {"going": "serving", "staying": "serving"}
    assert server.applied(model="going")["reached"]


def test_a_start_goes_on_with_what_had_begun(tmp_path, tiny_base, encoder, tiny_adapters):
    with bare_server(tmp_path, tiny_base, encoder, FROM_FILE) as first:
        hurried(first)
        first.push("going", tiny_adapters["r8-a"])
        digest = first.push("staying", tiny_adapters["r8-b"])["digest"]
        held = first.http.get("/v1/adapters/going").json()["digest"]
        first.http.portal.call(first.parts.residency.acquire, [held])
        assert first.http.delete("/v1/adapters/going").status_code == 202
    store = tmp_path / "data" / "blobs"
    assert {path.name for path in store.iterdir()} >= {held, digest}
    with bare_server(tmp_path, tiny_base, encoder, FROM_FILE) as second:
        end = time.monotonic() + 10
        while (state := states(second).get("going")) is not None:
            assert state == "removing", "never usable in between"
            assert time.monotonic() < end
        assert states(second) == {"staying": "serving"}
        assert second.http.get("/v1/adapters/going").status_code == 404
        assert second.push("going", tiny_adapters["r16"])["state"] == "serving"
    assert held not in {path.name for path in store.iterdir()}


def test_the_database_has_the_state(server):
    database = f"sqlite:///{server.parts.settings.data_dir}/registry.db"
    with in_use(server):
        server.http.delete("/v1/adapters/going")
        engine = sqlalchemy.create_engine(database)
        with engine.connect() as connection:
            rows = connection.execute(sqlalchemy.text("select name, removing from adapters"))
            assert {name: bool(gone) for name, gone in rows} == {"going": True, "staying": False}
