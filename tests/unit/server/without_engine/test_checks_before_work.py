"""What can be refused for little is refused before anything is unpacked, hashed or embedded."""

import asyncio
import json
import time
from collections.abc import Callable
from urllib.parse import urlencode

import httpx
import pytest

from adapters.limits import Limits
from server.sources.settings import SourceSettings
from tests.support.archives import zip_of
from tests.support.bare_server import ADMIN, BareServer, files_of
from tests.support.routing import CountingEncoder

FEW = [f"add {number} and {number}" for number in range(40)]
MANY = ["x"] * (Limits().max_examples + 1)


class WatchedEncoder(CountingEncoder):
    """The real one, which does something before each batch."""

    def __init__(self, encoder):
        super().__init__(encoder)
        self.before: Callable[[], None] = lambda: None

    def encode(self, texts):
        self.before()
        return super().encode(texts)


@pytest.fixture
def server(start, encoder, tiny_adapters, tmp_path, monkeypatch):
    """An adapter, a folder that may be loaded from, and an encoder that tells what it is given."""
    root = tmp_path / "sources"
    root.mkdir()
    running = start(sources=SourceSettings(file=root))
    running.push("mine", tiny_adapters["r8-a"], description="sums")
    for name in ("good", "other"):
        (root / name).mkdir()
        for file in tiny_adapters["r8-b"].iterdir():
            (root / name / file.name).write_bytes(file.read_bytes())
    watched = WatchedEncoder(encoder)
    monkeypatch.setattr(running.parts.catalogue.router, "encoder", watched)
    return running


def embedded(server: BareServer) -> list[str]:
    return server.parts.catalogue.router.encoder.texts


def broken(files: dict) -> dict:
    name, raw = files["config"]
    config = json.loads(raw) | {"base_model_name_or_path": "meta/llama-of-somebody-else"}
    return {**files, "config": (name, json.dumps(config).encode())}


def test_the_number_of_examples_is_judged_first_on_every_route(server, tiny_adapters):
    http, files = server.http, files_of(tiny_adapters["r8-b"])
    lines = {"examples": "\n".join(MANY)}
    as_list = {"examples": json.dumps(MANY)}
    as_objects = {"examples": "\n".join(json.dumps({"text": text}) for text in MANY)}
    answers = [
        http.patch("/v1/adapters/mine", json={"examples": MANY}),
        http.patch("/v1/adapters/mine", json={"examples": "\n".join(MANY)}),
        http.patch("/v1/adapters/mine", json={"examples": [0] * len(MANY)}),
        http.post("/v1/imports", json={"name": "n", "source": "file:///good", "examples": MANY}),
    ]
    for form in (lines, as_list, as_objects):
        answers += [
            http.post("/v1/adapters", data={"name": "new", **form}, files=files),
            http.put("/v1/adapters/mine", data=form, files=files),
            http.patch("/v1/adapters/mine", files={"examples": (None, form["examples"])}),
            http.patch("/v1/adapters/mine", files={"examples": ("a.txt", form["examples"])}),
        ]
    for answer in answers:
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, "examples"), answer.text
        assert f"{len(MANY)} examples" in error["message"]
        assert str(Limits().max_examples) in error["message"]
    assert embedded(server) == []


def test_the_size_of_routing_data_is_judged_first_on_every_route(server, tiny_adapters):
    http, files = server.http, files_of(tiny_adapters["r8-b"])
    large = "x" * (Limits().max_routing_bytes + 1)
    centroids = json.dumps([[0.5] * 384] * (Limits().max_centroids + 1))
    answers = [
        http.patch("/v1/adapters/mine", json={"examples": large}),
        http.patch("/v1/adapters/mine", json={"centroids": json.loads(centroids)}),
        http.post("/v1/imports", json={"name": "n", "source": "file:///x", "examples": [large]}),
    ]
    for form in ({"examples": large}, {"description": large}, {"centroids": centroids}):
        (field,) = form
        answers += [
            http.post("/v1/adapters", data={"name": "new", **form}, files=files),
            http.put("/v1/adapters/mine", data=form, files=files),
            http.patch("/v1/adapters/mine", files={field: (None, form[field])}),
            http.patch("/v1/adapters/mine", files={field: ("a.txt", form[field])}),
        ]
    assert {answer.status_code for answer in answers} <= {400, 413}, [a.text for a in answers]
    assert embedded(server) == []


def test_an_adapter_is_judged_before_its_examples_are_embedded(server, tiny_adapters):
    http, files = server.http, files_of(tiny_adapters["r8-b"])
    form = {"examples": "\n".join(FEW)}
    foreign = broken(files)
    archive = {"archive": ("a.zip", zip_of([("adapter_config.json", b"{}")]))}
    late = {"If-Match": '"' + "0" * 64 + '"'}
    tries = {
        "a name against the rule": http.post(
            "/v1/adapters", data={"name": "A b", **form}, files=files
        ),
        "a policy's name": http.post("/v1/adapters", data={"name": "auto", **form}, files=files),
        "a taken name": http.post("/v1/adapters", data={"name": "mine", **form}, files=files),
        "another base model": http.post(
            "/v1/adapters", data={"name": "new", **form}, files=foreign
        ),
        "half an archive": http.post("/v1/adapters", data={"name": "new", **form}, files=archive),
        "a foreign replacement": http.put("/v1/adapters/mine", data=form, files=foreign),
        "a late replacement": http.put("/v1/adapters/mine", data=form, files=files, headers=late),
        "nothing to replace": http.put("/v1/adapters/nobody", data=form, files=files),
        "a late description": http.patch("/v1/adapters/mine", json={"examples": FEW}, headers=late),
        "nothing to describe": http.patch("/v1/adapters/nobody", json={"examples": FEW}),
        "an import under a policy's name": http.post(
            "/v1/imports", json={"name": "auto", "source": "file:///good", "examples": FEW}
        ),
        "a load under a policy's name": http.post(
            "/v1/load_lora_adapter", json={"lora_name": "auto", "lora_path": "good"}
        ),
    }
    for case, answer in tries.items():
        assert 400 <= answer.status_code < 500, (case, answer.text)
    assert tries["a taken name"].json()["error"]["code"] == "adapter_exists"
    assert embedded(server) == []
    assert server.http.get("/v1/adapters/mine").json()["version"] == 1


def test_a_policys_name_is_refused_before_the_archive_is_unpacked(server, monkeypatch):
    def never(*_):
        raise AssertionError("nothing is to be unpacked")

    monkeypatch.setattr("server.routes.upload_form.unpack_archive", never)
    files = {"archive": ("a.zip", b"no archive")}
    for form in ({"name": "auto"}, {"name": "new", "examples": "\n".join(MANY)}):
        answer = server.http.post("/v1/adapters", data=form, files=files)
        assert (answer.status_code, answer.json()["error"]["type"]) == (
            400,
            "invalid_request_error",
        )


def body_of(method: str, path: str, **content) -> tuple[bytes, bytes]:
    request = httpx.Request(method, f"http://localhost{path}", **content)
    return request.headers["content-type"].encode(), request.read()


def leaving(server: BareServer, method: str, path: str, **content) -> None:
    """Send a request, and leave once the encoder has been asked for the second time."""
    kind, body = body_of(method, path, **content)
    asked = 0
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    def count() -> None:
        nonlocal asked
        asked += 1

    server.parts.catalogue.router.encoder.before = count

    async def receive():
        if pending:
            return pending.pop()
        if asked < 2:
            await asyncio.Event().wait()  # until whoever asks gives up
        return {"type": "http.disconnect"}

    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        **{"type": "http", "method": method, "path": path, "raw_path": path.encode()},
        **{"query_string": urlencode({}).encode(), "scheme": "http", "http_version": "1.1"},
        **{"client": ("127.0.0.1", 1), "server": ("localhost", 80), "root_path": ""},
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", kind),
            (b"content-length", str(len(body)).encode()),
            (b"authorization", f"Bearer {ADMIN}".encode()),
        ],
    }
    server.http.portal.call(server.app, scope, receive, send)
    assert sent == []


def test_a_client_that_leaves_ends_the_embedding(server, tiny_adapters):
    form = {"examples": "\n".join(FEW)}
    files = files_of(tiny_adapters["r8-b"])
    before = server.http.get("/v1/adapters").json()
    for method, path, content in (
        ("POST", "/v1/adapters", {"data": {"name": "new", **form}, "files": files}),
        ("PUT", "/v1/adapters/mine", {"data": form, "files": files}),
        ("PATCH", "/v1/adapters/mine", {"json": {"examples": FEW}}),
        ("PATCH", "/v1/adapters/mine", {"files": {"examples": (None, form["examples"])}}),
    ):
        embedded(server).clear()
        leaving(server, method, path, **content)
        assert 0 < len(embedded(server)) < len(FEW), (method, path)
    assert server.http.get("/v1/adapters").json() == before
    outcomes = [one["outcome"] for one in server.http.get("/v1/audit").json()["data"][:4]]
    assert outcomes == ["cancelled"] * 4


def test_a_cancelled_import_ends_the_embedding(server):
    encoder = server.parts.catalogue.router.encoder
    body = {"name": "new", "source": f"file://{server.parts.settings.sources.file}/good"}
    job: dict = {}

    def cancel() -> None:
        while not job:  # it may begin before its id is known here
            time.sleep(0.001)
        server.parts.imports.jobs.get(job["id"]).progress.cancel()

    encoder.before = cancel
    answer = server.http.post("/v1/imports", json={**body, "examples": FEW})
    job.update(answer.json())
    ended = job
    while ended["state"] in ("queued", "running"):
        ended = server.http.get(f"/v1/jobs/{job['id']}").json()
    assert (ended["state"], ended["error"]) == ("cancelled", None), ended
    assert 0 < len(embedded(server)) < len(FEW)
    assert server.http.get("/v1/adapters/new").status_code == 404


def test_a_description_or_examples_are_still_measured(server, tiny_adapters):
    server.push("new", tiny_adapters["r8-b"], examples="\n".join(FEW))
    assert embedded(server) == FEW
    routed = server.http.post("/v1/route", json={"input": FEW[0], "policy": "auto"}).json()
    assert routed["scores"]["new"] > routed["scores"]["mine"]
