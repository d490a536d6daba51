"""Routing data alone, on the real engine: answers go by them at once, running ones as before."""

import pytest

from tests.support.running_server import adapter_files

SEA = "hoist the sails and steer the ship"


@pytest.fixture
def http(http, server):
    files = adapter_files(server.adapters["r8-a"])
    http.post("/v1/adapters", data={"name": "mine"}, files=files).raise_for_status()
    yield http
    http.delete("/v1/adapters/mine")


@pytest.mark.parametrize("scope", ["prompt", "token"])
def test_the_next_answer_is_routed_by_them(http, scope):
    body = {
        **{"prompt": SEA, "policy": "nearest", "max_tokens": 4, "temperature": 0},
        "routing": {"scope": scope},
    }

    def chosen() -> set[str]:
        answer = http.post("/v1/completions", json=body)
        assert answer.status_code == 200, answer.text
        return set(answer.json()["mixture"]["adapters"])

    assert "mine" not in chosen()
    told = http.patch("/v1/adapters/mine", json={"examples": [SEA]})
    assert (told.status_code, told.json()["version"]) == (200, 1)
    assert chosen() == {"mine"}
    by_form = {"examples": ("none.txt", b""), "description": (None, "football")}
    http.patch("/v1/adapters/mine", files=by_form).raise_for_status()
    assert "mine" not in chosen()


def test_a_fault_names_its_field(http):
    refused = http.patch("/v1/adapters/mine", json={"centroids": [[1.0]]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "centroids")
    assert http.patch("/v1/adapters/nobody", json={"description": "x"}).status_code == 404
