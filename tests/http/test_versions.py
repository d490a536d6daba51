"""New content for a name: what running and later requests get, and who may change it."""

import json
import threading

import pytest

from tests.support.running_server import adapter_files

LONG = {"prompt": "one two three", "max_tokens": 300, "temperature": 0, "ignore_eos": True}


@pytest.fixture
def sums(http, server):
    """An adapter with the content of r8-a, under a name of its own."""
    answer = http.post("/v1/adapters", data={"name": "sums"}, files=files(server, "r8-a"))
    assert answer.status_code == 201, answer.text
    yield answer.json()
    http.delete("/v1/adapters/sums")


def files(server, name):
    return adapter_files(server.adapters[name])


def put(http, server, content, **headers):
    return http.put("/v1/adapters/sums", files=files(server, content), headers=headers)


def says(http, model):
    body = {"model": model, "prompt": "one two", "max_tokens": 8, "temperature": 0}
    answer = http.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["text"]


def test_later_requests_get_the_new_content(http, server, sums):
    assert says(http, "sums") == says(http, "r8-a")
    changed = put(http, server, "r16")
    assert changed.status_code == 200, changed.text
    told = changed.json()
    assert (told["version"], told["rank"]) == (2, 16)
    assert told["digest"] == http.get("/v1/adapters/r16").json()["digest"]
    assert changed.headers["etag"] == f'"{told["digest"]}"' != f'"{sums["digest"]}"'
    assert says(http, "sums") == says(http, "r16") != says(http, "r8-a")
    assert put(http, server, "r16").json()["version"] == 2, "the same content is no new version"


def test_a_running_request_keeps_what_it_began_with(http, server, sums):
    expected = http.post("/v1/completions", json={**LONG, "model": "r8-a"}).json()
    begun, texts = threading.Event(), []

    def listen():
        body = {**LONG, "model": "sums", "stream": True}
        with server.client() as other, other.stream("POST", "/v1/completions", json=body) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    texts.append(json.loads(line[6:])["choices"][0]["text"])
                    begun.set()

    listener = threading.Thread(target=listen)
    listener.start()
    assert begun.wait(60)
    changed = put(http, server, "r16")
    still_running = listener.is_alive()
    listener.join()
    assert changed.status_code == 200, changed.text
    assert still_running, "the answer was over too soon to show anything"
    assert "".join(texts) == expected["choices"][0]["text"]


def test_a_change_is_bound_to_what_its_author_saw(http, server, sums):
    first = f'"{sums["digest"]}"'
    assert put(http, server, "r16", **{"If-Match": first}).status_code == 200
    late = put(http, server, "r8-b", **{"If-Match": first})
    assert late.status_code == 412
    assert late.json()["error"]["code"] == "adapter_version_conflict"
    assert http.get("/v1/adapters/sums").json()["version"] == 2
    assert put(http, server, "r8-b", **{"If-Match": "*"}).status_code == 200
    for nonsense in ("abc", sums["digest"], 'W/"x"', '"a", "b"'):
        refused = put(http, server, "r8-a", **{"If-Match": nonsense})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "If-Match")


def test_going_back(http, server, sums):
    put(http, server, "r16")
    back = http.post("/v1/adapters/sums/restore", json={"digest": sums["digest"][:12]})
    assert back.status_code == 200, back.text
    assert (back.json()["version"], back.json()["digest"]) == (3, sums["digest"])
    assert says(http, "sums") == says(http, "r8-a")
    listed = http.get("/v1/adapters/sums/versions").json()["data"]
    assert [one["number"] for one in listed] == [3, 2, 1]
    assert listed[0]["digest"] == listed[2]["digest"] == sums["digest"]
    unknown = http.post("/v1/adapters/sums/restore", json={"digest": "0" * 64})
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == "adapter_version_not_found"


def test_what_cannot_be_replaced(http, server, sums):
    assert http.put("/v1/adapters/nobody", files=files(server, "r8-a")).status_code == 404
    named = http.put("/v1/adapters/sums", data={"name": "x"}, files=files(server, "r8-a"))
    assert (named.status_code, named.json()["error"]["param"]) == (400, "name")
    broken = {"archive": ("a.zip", b"none")}
    assert http.put("/v1/adapters/sums", files=broken).status_code == 400
    for body in ({}, {"digest": 7}, {"digest": "0" * 64, "more": 1}):
        assert http.post("/v1/adapters/sums/restore", json=body).status_code == 400
    assert http.get("/v1/adapters/sums").json()["version"] == 1


def test_routing_data_stay_unless_they_are_given(http, server, sums):
    url = "/v1/adapters/sums"
    first = http.put(url, data={"description": "sums"}, files=files(server, "r16")).json()
    assert first["routing"]["description"] == "sums"
    assert put(http, server, "r8-b").json()["routing"]["description"] == "sums"
