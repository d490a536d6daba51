"""Uploads to the real server: good ones serve at once, broken ones leave no trace."""

import json
import threading

import pytest

from tests.support.archives import tar_gz_of, zip_of
from tests.support.broken_adapters import GoodAdapter, broken_uploads

ASK = {"prompt": "one two three", "max_tokens": 8, "temperature": 0, "ignore_eos": True}


@pytest.fixture
def good(server) -> GoodAdapter:
    """An adapter that is like r8-a, with another scaling."""
    read = GoodAdapter.read(server.adapters["r8-a"])
    return GoodAdapter({**read.config, "lora_alpha": 11}, read.tensors)


@pytest.fixture
def fresh(http):
    """A name that is free, and is free again afterwards."""
    yield "fresh"
    http.delete("/v1/adapters/fresh")


def push(http, name: str, files, **fields: str):
    return http.post("/v1/adapters", data={"name": name, **fields}, files=files)


def say(http, **body) -> str:
    answer = http.post("/v1/completions", json={**ASK, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["text"]


def names(http) -> set[str]:
    return {adapter["id"] for adapter in http.get("/v1/adapters").json()["data"]}


def test_every_broken_upload_is_refused_and_leaves_nothing(http, server):
    before = names(http)
    cases = broken_uploads(server.adapters["r8-a"])
    assert len(cases) >= 30
    wrong = []
    for case in cases:
        answer = push(http, "broken", case.files)
        error = answer.json().get("error", {})
        status = 413 if case.code == "adapter_too_large" else 400
        if (answer.status_code, error.get("code")) != (status, case.code):
            wrong.append((case.name, answer.status_code, error))
        assert not any(leak in answer.text for leak in ("/tmp", "Traceback", "site-packages"))
    assert wrong == []
    assert names(http) == before
    assert http.get("/v1/models/broken").status_code == 404
    assert server.alive()


@pytest.mark.parametrize("form", ["files", "zip", "tar.gz"])
def test_an_upload_serves_at_once(http, good, fresh, form):
    before = say(http, model="tiny-llama")
    files = {
        "files": good.files(),
        "zip": {"archive": ("a.zip", zip_of(good.members("folder/")))},
        "tar.gz": {"archive": ("a.tar.gz", tar_gz_of(good.members()))},
    }[form]
    answer = push(http, fresh, files, description="sailing boats on the sea")
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["id"], told["rank"], told["parent"]) == (fresh, 8, "tiny-llama")
    assert len(told["digest"]) == 64
    assert http.get(f"/v1/adapters/{fresh}").json()["digest"] == told["digest"]
    assert http.get(f"/v1/models/{fresh}").json()["kind"] == "adapter"
    assert say(http, model=fresh) != before
    routed = http.post("/v1/route", json={"input": "a sailing boat", "policy": "nearest"}).json()
    assert list(routed["mixture"]["adapters"]) == [fresh]
    assert say(http, model="tiny-llama") == before


def test_the_same_again_is_no_conflict_and_other_content_is(http, good, fresh):
    assert push(http, fresh, good.files()).status_code == 201
    assert push(http, fresh, good.files()).status_code == 200
    again = push(http, fresh, good.files(), description="sailing boats")
    assert again.status_code == 200
    assert again.json()["routing"]["has_centroid"]
    other = good.files(config=good.config_bytes(lora_alpha=3))
    refused = push(http, fresh, other)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "adapter_exists")


def test_routing_data_come_in_three_forms(http, good, fresh):
    examples = "\n".join(json.dumps({"text": t}) for t in ("a sailing boat", "the sea wind"))
    told = push(http, fresh, good.files(), examples=examples).json()["routing"]
    assert (told["examples"], told["has_centroid"]) == (2, True)
    assert http.delete(f"/v1/adapters/{fresh}").json()["deleted"]
    given = json.dumps([0.01] * 384)
    told = push(http, fresh, good.files(), centroid=given).json()["routing"]
    assert (told["has_centroid"], told["centroids"]) == (True, 1)
    assert http.delete(f"/v1/adapters/{fresh}").json()["deleted"]
    several = json.dumps([[0.01] * 384, [0.1, *[0.0] * 383]])
    told = push(http, fresh, good.files(), centroids=several).json()["routing"]
    assert told["centroids"] == 2
    assert http.delete(f"/v1/adapters/{fresh}").json()["deleted"]
    told = push(http, fresh, good.files()).json()["routing"]
    assert (told["has_centroid"], told["centroids"]) == (False, 0)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"centroid": "[1, 2]"}, "invalid_centroid"),
        ({"centroid": json.dumps([0] * 384)}, "invalid_centroid"),
        ({"centroid": "nope"}, "adapter_routing_invalid"),
        ({"centroids": "[[1, 2], [3]]"}, "invalid_centroid"),
        ({"centroids": json.dumps([[0.1] * 384] * 65)}, "adapter_routing_invalid"),
        ({"centroids": "[[1]]", "centroid": "[1]"}, "adapter_routing_invalid"),
        ({"examples": '{"nothing": 1}'}, "adapter_routing_invalid"),
        ({"centroid": json.dumps([0.1] * 384), "encoder": "other"}, "centroid_mismatch"),
        ({"nope": "x"}, "invalid_request"),
    ],
)
def test_routing_data_that_are_no_use_are_refused_with_the_upload(http, good, fields, code):
    answer = push(http, "fresh", good.files(), **fields)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert "fresh" not in names(http)


@pytest.mark.parametrize(
    "name",
    ["", "A", "a b", "../x", "a/b", "x" * 65, "base", "text", "auto", "tiny-llama", ".a", "ü"],
)
def test_a_name_that_cannot_be_given_is_refused(http, good, name):
    answer = push(http, name, good.files())
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in ("adapter_name_invalid", "invalid_request")


def test_forms_that_make_no_sense_are_refused(http, good):
    files = good.files()
    archive = ("a.zip", zip_of(good.members()))
    cases = [
        {"data": {}, "files": files},
        {"data": {"name": "fresh"}, "files": {"config": files["config"]}},
        {"data": {"name": "fresh"}, "files": {**files, "archive": archive}},
        {"data": {"name": "fresh", "file": "text"}, "files": {"config": files["config"]}},
        {"json": {"name": "fresh"}},
        {"content": b"--x\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"content": b"garbage", "headers": {"Content-Type": "multipart/form-data"}},
        {"content": b"", "headers": {"Content-Type": "multipart/form-data; boundary=" + "x" * 99}},
        {
            "data": {"name": "fresh"},
            "files": [("config", files["config"]), ("config", files["config"])],
        },
    ]
    for case in cases:
        answer = http.post("/v1/adapters", **case)
        assert answer.status_code == 400, (case, answer.text)
        assert answer.json()["error"]["code"] == "invalid_request"
    assert "fresh" not in names(http)


def test_uploads_do_not_disturb_running_streams(http, server, good, fresh):
    expected = say(http, model="r8-b", max_tokens=60)
    said: list[str] = []

    def read() -> None:
        body = {**ASK, "model": "r8-b", "max_tokens": 60, "stream": True}
        with (
            server.client() as other,
            other.stream("POST", "/v1/completions", json=body) as answer,
        ):
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    said.append(json.loads(line[6:])["choices"][0]["text"])

    readers = [threading.Thread(target=read) for _ in range(1)]
    for reader in readers:
        reader.start()
    for _ in range(3):
        assert push(http, fresh, good.files()).status_code == 201
        assert http.delete(f"/v1/adapters/{fresh}").status_code == 200
    for reader in readers:
        reader.join()
    assert "".join(said) == expected


def test_a_removed_adapter_is_gone_everywhere(http, good):
    assert push(http, "fresh", good.files(), description="sailing").status_code == 201
    assert http.delete("/v1/adapters/fresh").json()["deleted"]
    for path in ("/v1/adapters/fresh", "/v1/models/fresh"):
        assert http.get(path).status_code == 404
    refused = http.post("/v1/completions", json={**ASK, "model": "fresh"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    routed = http.post("/v1/route", json={"input": "sailing", "policy": "nearest"}).json()
    assert "fresh" not in routed["scores"]
