"""``name@digest`` on the real engine: the weights are that version's."""

import pytest

from tests.support.running_server import adapter_files

SAID = {"prompt": "one two", "max_tokens": 8, "temperature": 0}


@pytest.fixture
def http(http):
    yield http
    http.delete("/v1/adapters/sums")


@pytest.fixture
def digests(http, server) -> list[str]:
    """Of r8-a, and of r16, which counts now."""
    first = http.post(
        "/v1/adapters", data={"name": "sums"}, files=adapter_files(server.adapters["r8-a"])
    )
    second = http.put("/v1/adapters/sums", files=adapter_files(server.adapters["r16"]))
    assert (first.status_code, second.status_code) == (201, 200)
    return [first.json()["digest"], second.json()["digest"]]


def says(http, **body):
    answer = http.post("/v1/completions", json={**SAID, "logprobs": 5, **body})
    assert answer.status_code == 200, answer.text
    return answer


def test_a_version_answers_as_the_adapter_of_its_content(http, digests):
    pinned = says(http, model=f"sums@{digests[0][:8]}")
    told = pinned.json()
    assert told["choices"][0]["text"] == says(http, model="r8-a").json()["choices"][0]["text"]
    now = says(http, model="sums").json()
    assert now["choices"][0]["text"] != told["choices"][0]["text"]
    assert told["mixture"]["adapters"] == {f"sums@{digests[0][:12]}": 1.0}
    assert pinned.headers["x-loralloy-mixture"].startswith(f"sums@{digests[0][:12]}=1")
    again = says(http, mixture={"adapters": told["mixture"]["adapters"]})
    assert again.json()["choices"][0]["text"] == told["choices"][0]["text"]


@pytest.mark.parametrize("combination", ["cat", "linear"])
def test_one_content_under_two_names_counts_for_both(http, digests, combination):
    """The slot is one; its gates are the sum, and not what the last name says."""
    both = {f"sums@{digests[0]}": 0.64, "r8-a": 0.04}
    # linear adds square roots of weights: √0.64 + √0.04 = √1.
    alone = {"r8-a": 0.68 if combination == "cat" else 1.0}
    seen = []
    for adapters in (both, alone):
        mixture = {"adapters": adapters, "combination": combination}
        seen.append(says(http, mixture=mixture).json()["choices"][0])
    assert seen[0]["text"] == seen[1]["text"]
    one, other = (choice["logprobs"]["token_logprobs"] for choice in seen)
    assert one == pytest.approx(other, abs=1e-3)


def test_what_is_not_there_is_told(http, digests):
    for name, code in (("sums@00000000", "adapter_version_not_found"), ("x@00000000", None)):
        answer = http.post("/v1/completions", json={**SAID, "model": name})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (404, "model")
        assert error["code"] == (code or "model_not_found")
    body = {"model": f"sums@{digests[0]}", "prompt": "one two"}
    assert http.post("/tokenize", json=body).status_code == 200
    assert http.get(f"/v1/models/sums@{digests[0]}").json()["parent"] == "tiny-llama"
