"""What is not seen on a terminal is in no name and no description, whichever route brings it."""

import json
import unicodedata

import pytest

from server.sources.settings import SourceSettings
from tests.support.bare_server import files_of

HIDDEN = {
    "ESC": "\x1b[2J",
    "NUL": "\x00",
    "DEL": "\x7f",
    "C1": "\x9b2J",
    "next line": "\x85",
    "right to left": "\u202e",
    "isolate": "\u2066",
    "mark": "\u200f",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "no width": "\u200b",
    "byte order": "\ufeff",
    "tag": "\U000e0041",
    "annotation": "\ufff9",
}


@pytest.fixture
def server(start, tiny_adapters, tmp_path):
    with_folder = start(sources=SourceSettings(file=tmp_path / "sources"))
    with_folder.push("mine", tiny_adapters["r8-a"], description="sums")
    return with_folder


def refused(answer, field: str) -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, field), answer.text
    shown = [one for one in error["message"] if unicodedata.category(one) in ("Cc", "Cf", "Zl")]
    assert not shown


@pytest.mark.parametrize("character", HIDDEN)
@pytest.mark.parametrize("field", ["description", "encoder"])
def test_no_route_takes_a_hidden_character(server, tiny_adapters, field, character):
    told = {field: f"sums {HIDDEN[character]} and more", "centroids": [[1.0] + [0.0] * 383]}
    form = {**told, "centroids": json.dumps(told["centroids"])}
    files = files_of(tiny_adapters["r8-b"])
    adapters = "/v1/adapters"
    refused(server.http.post(adapters, data={"name": "new", **form}, files=files), field)
    refused(server.http.put(f"{adapters}/mine", data=form, files=files), field)
    refused(server.http.patch(f"{adapters}/mine", json=told), field)
    as_form = {name: (None, text) for name, text in form.items()}
    refused(server.http.patch(f"{adapters}/mine", files=as_form), field)
    refused(
        server.http.post("/v1/imports", json={"name": "n", "source": "file:///x", **told}), field
    )
    options = {"kind": "tle", "description": told.get("description", HIDDEN[character])}
    refused(server.http.put("/v1/policies/odd", json=options), "description")
    listed = server.http.get(adapters).json()["data"]
    assert [one["id"] for one in listed] == ["mine"]
    assert listed[0]["routing"]["description"] == "sums"
    assert listed[0]["version"] == 1
    assert server.http.get("/v1/policies/odd").status_code == 404


@pytest.mark.parametrize("character", HIDDEN)
def test_no_name_has_one(server, tiny_adapters, character):
    name, files = f"a{HIDDEN[character]}", files_of(tiny_adapters["r8-b"])
    assert server.http.post("/v1/adapters", data={"name": name}, files=files).status_code == 400
    assert (
        server.http.post("/v1/imports", json={"name": name, "source": "file:///x"}).status_code
        == 400
    )
    body = {"lora_name": name, "lora_path": "x"}
    assert server.http.post("/v1/load_lora_adapter", json=body).status_code == 400
    weights = {"kind": "fixed", "weights": {name: 1.0}}
    assert server.http.put("/v1/policies/odd", json=weights).status_code == 400
    for lists in ({"include": [name]}, {"exclude": [name]}):
        options = {"kind": "tle", "candidates": lists}
        assert server.http.put("/v1/policies/odd", json=options).status_code == 400
    assert (
        server.http.put("/v1/policies/odd", json={"kind": "tle", "fallback": name}).status_code
        == 400
    )


@pytest.mark.parametrize("character", HIDDEN)
def test_no_base_models_name_has_one(server, tiny_adapters, character):
    files = files_of(tiny_adapters["r8-b"])
    name, raw = files["config"]
    config = json.loads(raw) | {"base_model_name_or_path": f"{HIDDEN[character]}/tiny-llama"}
    files["config"] = (name, json.dumps(config).encode())
    answer = server.http.post("/v1/adapters", data={"name": "new"}, files=files)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "adapter_config_invalid")


def test_lines_tabs_and_emoji_are_taken(server):
    text = "Sums:\n\t- add 👩\u200d💻\n\t- multiply (größer, שלום, 你好)"
    for given in (text, text.replace("\n", "\r\n")):
        answer = server.http.patch("/v1/adapters/mine", json={"description": given})
        assert (answer.status_code, answer.json()["routing"]["description"]) == (200, given)
    assert server.http.put(
        "/v1/policies/fine", json={"kind": "tle", "description": text}
    ).is_success
