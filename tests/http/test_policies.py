"""Policies put over HTTP, on the real engine: what later and running requests get."""

import json
import threading

import pytest

SAID = {"prompt": "one two three", "temperature": 0}
LONG = {**SAID, "max_tokens": 300, "ignore_eos": True}


@pytest.fixture
def http(http):
    yield http
    http.delete("/v1/policies/blend")


def put(http, **weights: float):
    answer = http.put("/v1/policies/blend", json={"kind": "fixed", "weights": weights})
    assert answer.status_code in (200, 201), answer.text
    return answer


def says(http, **body):
    answer = http.post("/v1/completions", json={**SAID, "max_tokens": 8, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_policy_serves_from_the_next_request_on(http):
    assert put(http, **{"r8-a": 1.0}).status_code == 201
    first = says(http, model="blend")
    assert first["choices"][0]["text"] == says(http, model="r8-a")["choices"][0]["text"]
    assert first["model"] == "blend"
    changed = put(http, **{"r16": 1.0}).json()
    second = says(http, model="blend")
    assert second["choices"][0]["text"] == says(http, model="r16")["choices"][0]["text"]
    assert second["mixture"]["policy_version"] == changed["version"]
    assert first["mixture"]["policy_version"] != changed["version"]
    http.delete("/v1/policies/blend")
    gone = http.post("/v1/completions", json={**SAID, "model": "blend"})
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "model_not_found")


def test_a_policy_of_the_file_comes_back(http):
    before = says(http, model="nearest")["mixture"]
    http.put("/v1/policies/nearest", json={"kind": "fixed", "weights": {"r32": 0.5}})
    assert says(http, model="nearest")["mixture"]["adapters"] == {"r32": 0.5}
    http.delete("/v1/policies/nearest").raise_for_status()
    assert says(http, model="nearest")["mixture"] == before


@pytest.mark.parametrize("scope", ["prompt", "token"])
def test_a_running_request_keeps_its_policy(http, server, scope):
    """Also where the policy is asked again and again while the answer grows."""
    options = {"kind": "softmax", "temperature": 0.05, "scope": scope, "stride": 4}
    version = http.put("/v1/policies/blend", json=options).json()["version"]
    expected = says(http, **{**LONG, "model": "blend"})["choices"][0]["text"]
    begun, texts, told = threading.Event(), [], []

    def listen():
        body = {**LONG, "model": "blend", "stream": True}
        body["stream_options"] = {"include_mixture": True}
        with server.client() as other, other.stream("POST", "/v1/completions", json=body) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    chunk = json.loads(line[6:])
                    texts.append(chunk["choices"][0]["text"])
                    told.append(chunk["mixture"]["policy_version"])
                    begun.set()

    listener = threading.Thread(target=listen)
    listener.start()
    assert begun.wait(60)
    http.delete("/v1/policies/blend").raise_for_status()
    put(http, **{"r32": 1.0})
    still_running = listener.is_alive()
    listener.join()
    assert still_running, "the answer was over too soon to show anything"
    assert set(told) == {version}
    assert "".join(texts) == expected
