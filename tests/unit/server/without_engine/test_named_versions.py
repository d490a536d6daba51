"""``name@digest``: one kept version, in every place where an adapter can be named."""

import asyncio
import threading

import pytest

from tests.support.access import made
from tests.support.bare_server import BareServer
from tests.support.placeholder import named
from tests.support.tiny_llama import BASE_NAME


@pytest.fixture
def digests(server, tiny_adapters) -> list[str]:
    """The versions that "mine" has had; the last one counts."""
    first = server.push("mine", tiny_adapters["r8-a"])
    second = server.replace("mine", tiny_adapters["r16"])
    return [first["digest"], second["digest"]]


def refused(server: BareServer, headers=None, **body) -> tuple[int, str, str | None]:
    answer = server.http.post("/v1/completions", json={"prompt": "x", **body}, headers=headers)
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


WAYS = [
    {"model": "NAME"},
    {"model": f"{BASE_NAME}:NAME"},
    {"mixture": {"adapters": {"NAME": 1.0}}},
    {"lora": [{"id": "NAME", "scale": 1.0}]},
    {"adapter_id": "NAME"},
    {"merged_adapters": {"ids": ["NAME"], "weights": [1.0]}},
    {"model": BASE_NAME, "adapter_id": "NAME"},
]


@pytest.mark.parametrize("body", WAYS, ids=str)
@pytest.mark.parametrize("characters", [8, 12, 64])
def test_a_version_is_named_in_every_way(server, digests, body, characters):
    first, _ = digests
    reached = server.applied(**named(body, f"mine@{first[:characters]}"))
    assert reached["reached"] == [[f"mine@{first[:12]}", first, 1.0]]
    assert reached["model"] in ("mine", BASE_NAME), "a name that the engine knows"
    assert first in server.engine.held
    assert server.parts.residency.leases == 0


@pytest.mark.parametrize("body", WAYS, ids=str)
def test_a_version_that_is_not_there_is_told(server, digests, body):
    for digest in ("0" * 64, digests[0][:7], "", digests[0].upper(), f"{digests[0]}0", "a@b"):
        status, code, param = refused(server, **named(body, f"mine@{digest}"))
        assert (status, code) == (404, "adapter_version_not_found"), digest
        assert param is not None


@pytest.mark.parametrize("body", WAYS, ids=str)
def test_an_adapter_that_is_not_there_has_no_versions_either(server, digests, body):
    nobody = named(body, f"nobody@{digests[0]}")
    assert refused(server, **nobody)[:2] == (404, "model_not_found")


@pytest.mark.parametrize("body", WAYS, ids=str)
def test_an_allow_list_binds_versions_by_the_name(server, digests, body):
    key = made(server.keys, "user", "other-*")[0]
    allowed = made(server.keys, "user", "mine")[0]
    server.parts.access.key_refresh.look()
    told = {}
    for name in ("mine", "nobody"):
        pinned = named(body, f"{name}@{digests[0]}")
        answer = server.http.post(
            "/v1/completions", json={"prompt": "x", **pinned}, headers=server.holding(key)
        )
        assert answer.status_code == 404
        told[name] = answer.text.replace(name, "?")
    assert told["mine"] == told["nobody"]
    pinned = {"prompt": "x", **named(body, f"mine@{digests[0]}")}
    answer = server.http.post("/v1/completions", json=pinned, headers=server.holding(allowed))
    assert answer.status_code == 200


def test_versions_of_one_name_mix(server, digests):
    first, second = digests
    weights = {f"mine@{first[:8]}": 0.25, "mine": 0.5, f"mine@{second[:8]}": 0.75}
    reached = server.applied(mixture={"adapters": weights})["reached"]
    assert reached == [
        [f"mine@{second[:12]}", second, 0.75],
        ["mine", second, 0.5],
        [f"mine@{first[:12]}", first, 0.25],
    ]
    twice = {f"mine@{first[:8]}": 0.25, f"mine@{first[:9]}": 0.5}
    assert refused(server, mixture={"adapters": twice})[:2] == (400, "mixture_invalid")
    many = {f"mine@{number:08}": 0.0 for number in range(65)}
    assert refused(server, mixture={"adapters": many})[:2] == (400, "mixture_too_large")


def test_linear_combinations_know_a_versions_rank(server, digests, tiny_adapters):
    server.push("other", tiny_adapters["r8-b"])
    weights = {f"mine@{digests[0]}": 0.5, "other": 0.5}
    mixture = {"adapters": weights, "combination": "linear"}
    assert len(server.applied(mixture=mixture)["reached"]) == 2
    weights = {"mine": 0.5, "other": 0.5}
    unlike = {"adapters": weights, "combination": "linear"}
    assert refused(server, mixture=unlike)[:2] == (400, "mixture_ranks_differ")


def test_it_is_a_model_and_has_a_tokenizer(server, digests):
    told = server.http.get(f"/v1/models/mine@{digests[0][:8]}").json()
    assert (told["id"], told["kind"]) == (f"mine@{digests[0][:12]}", "adapter")
    missing = server.http.get("/v1/models/mine@00000000")
    assert (missing.status_code, missing.json()["error"]["code"]) == (
        404,
        "adapter_version_not_found",
    )
    body = {"model": f"mine@{digests[0][:8]}", "prompt": "x"}
    assert server.http.post("/tokenize", json=body).json()["model"] == "mine"


def test_metrics_count_a_version_under_its_name(server, digests):
    server.applied(model=f"mine@{digests[0]}")
    told = server.parts.metrics.exposition()
    assert b'loralloy_adapter_weight_total{adapter="mine"} 1.0' in told
    assert b"mine@" not in told


def test_what_is_used_is_not_collected(server, digests, tiny_adapters):
    """Three versions are kept here; a fourth one drops the first, which a request still has."""
    first, _ = digests
    parts = server.parts
    store = parts.catalogue.registry.store
    server.applied(model=f"mine@{first}")
    server.http.portal.call(parts.residency.acquire, [first])
    server.replace("mine", tiny_adapters["r8-b"])
    server.replace("mine", tiny_adapters["r32"])
    assert refused(server, model=f"mine@{first}")[:2] == (404, "adapter_version_not_found")
    assert store.has(first)
    server.http.portal.call(lambda: asyncio.sleep(0, parts.residency.release([first])))
    server.http.delete("/v1/adapters/mine")
    assert not store.has(digests[1])


def test_versions_come_and_go_while_requests_name_them(server, digests, tiny_adapters):
    """Whoever gets a version gets it whole; whoever comes too late is told so; nothing fails."""
    stop, seen = threading.Event(), []
    contents = [tiny_adapters[name] for name in ("r8-b", "r32", "r8-c", "r8-d", "r8-a", "r16")]

    def change() -> None:
        for folder in contents * 2:
            server.replace("mine", folder)
        stop.set()

    changer = threading.Thread(target=change)
    changer.start()
    while not stop.is_set():
        versions = server.http.get("/v1/adapters/mine/versions").json()["data"]
        for digest in {one["digest"] for one in versions}:
            body = {"prompt": "x", "model": f"mine@{digest}"}
            answer = server.http.post("/v1/completions", json=body)
            told = answer.json()
            if answer.status_code == 200:
                assert [member[1] for member in told["reached"]] == [digest]
            else:
                assert told["error"]["code"] == "adapter_version_not_found", told
            seen.append(answer.status_code)
    changer.join()
    assert 200 in seen
