"""A key that may use some adapters: the others do not exist for it, whichever way it asks."""

import dataclasses
import json

import pytest

from tests.support.generation import Ask, generate
from tests.support.placeholder import named
from tests.support.tiny_llama import BASE_NAME

SEEN, HIDDEN = {"r8-a", "r8-b"}, "r16"
COOKING = "a recipe of kitchens and cooking recipes"
ASK = {"prompt": COOKING, "max_tokens": 6, "temperature": 0, "ignore_eos": True}
BLOCK = 128


def refusal(answer, name: str) -> tuple:
    """What an answer tells, but for the name that was asked for."""
    error = answer.json()["error"]
    told = [error["message"], error["param"] or ""]
    return answer.status_code, error["code"], [text.replace(name, "?") for text in told]


WAYS = {
    "by name": {"model": "NAME"},
    "behind the base": {"model": f"{BASE_NAME}:NAME"},
    "in a mixture": {"mixture": {"adapters": {"r8-a": 0.5, "NAME": 0.5}}},
    "at weight 0": {"mixture": {"adapters": {"r8-a": 1, "NAME": 0}}},
    "as llama.cpp": {"lora": [{"id": "NAME", "scale": 1.0}]},
    "as LoRAX": {"adapter_id": "NAME"},
    "merged as LoRAX": {"merged_adapters": {"ids": ["r8-a", "NAME"], "weights": [1, 1]}},
    "as a model beside a mixture": {"model": "NAME", "adapter_id": "r8-a"},
    "as a candidate": {"policy": "auto", "routing": {"candidates": {"include": ["NAME"]}}},
    "as a fallback": {"policy": "auto", "routing": {"threshold": 0.99, "fallback": "NAME"}},
    "as a policy": {"policy": "NAME"},
}
APIS = {
    "/v1/completions": {"prompt": COOKING, "max_tokens": 2},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": COOKING}], "max_tokens": 2},
    "/v1/responses": {"input": COOKING, "max_output_tokens": 2},
}


@pytest.mark.parametrize("path", APIS)
@pytest.mark.parametrize("way", WAYS)
def test_no_way_of_naming_leads_to_a_hidden_adapter(keyed, way, path):
    told = {}
    for name in (HIDDEN, "nobody"):
        answer = keyed["narrow"].post(path, json={**APIS[path], **named(WAYS[way], name)})
        told[name] = refusal(answer, name)
    assert told[HIDDEN] == told["nobody"]
    assert told[HIDDEN][0] in (400, 404)
    if way not in ("as a policy", "as a candidate", "as a fallback"):
        assert told[HIDDEN][:2] == (404, "model_not_found")


@pytest.mark.parametrize("way", [way for way in WAYS if way != "as a policy"])
def test_each_way_leads_to_one_that_may_be_used(keyed, way):
    answer = keyed["narrow"].post("/v1/completions", json={**ASK, **named(WAYS[way], "r8-b")})
    assert answer.status_code == 200, answer.text
    mine = keyed["admin"].post("/v1/completions", json={**ASK, **named(WAYS[way], HIDDEN)})
    assert mine.status_code == 200, mine.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/adapters/NAME"),
        ("GET", "/v1/adapters/NAME/versions"),
        ("GET", "/v1/models/NAME"),
        ("GET", "/v1/policies/NAME"),
    ],
)
def test_reading_one_tells_nothing_either(keyed, method, path):
    told = [
        refusal(keyed["narrow"].request(method, named(path, name)), name)
        for name in (HIDDEN, "nobody")
    ]
    assert told[0] == told[1]
    assert told[0][0] == 404
    if "policies" not in path:
        assert keyed["narrow"].request(method, named(path, "r8-a")).status_code == 200


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize"])
def test_tokenising_tells_nothing_either(keyed, path):
    rest = {"prompt": "hi", "tokens": [40, 41]}
    told = [
        refusal(keyed["narrow"].post(path, json={**rest, "model": name}), name)
        for name in (HIDDEN, "nobody")
    ]
    assert told[0] == told[1]
    assert told[0][:2] == (404, "model_not_found")
    for name in ("r8-a", f"{BASE_NAME}:r8-a", BASE_NAME, "auto"):
        assert keyed["narrow"].post(path, json={**rest, "model": name}).status_code == 200
    assert keyed["narrow"].post(path, json=rest).status_code == 200


def listed(client, what: str) -> set[str]:
    return {one["id"] for one in client.get(f"/v1/{what}").json()["data"]}


def test_lists_hold_what_may_be_used(keyed):
    assert listed(keyed["narrow"], "adapters") == SEEN
    assert listed(keyed["one"], "adapters") == {"r8-a"}
    assert listed(keyed["wide"], "adapters") == listed(keyed["admin"], "adapters") >= {HIDDEN}
    usable = {"auto", "tle", "nearest", "uniform", "ours", "lists"}
    assert listed(keyed["narrow"], "policies") == usable
    assert listed(keyed["narrow"], "models") == {BASE_NAME} | SEEN | usable
    assert listed(keyed["one"], "policies") == usable - {"ours"}
    assert listed(keyed["wide"], "policies") == usable | {"merged", "falls"}


def test_policies_are_shown_without_what_is_hidden(keyed):
    for told in (
        keyed["narrow"].get("/v1/policies/lists").json(),
        *keyed["narrow"].get("/v1/policies").json()["data"],
    ):
        assert HIDDEN not in json.dumps(told)
        assert "r32" not in json.dumps(told)
    assert HIDDEN in json.dumps(keyed["wide"].get("/v1/policies/lists").json())


@pytest.mark.parametrize("policy", ["merged", "falls"])
def test_a_policy_that_needs_a_hidden_adapter_is_refused_without_its_name(keyed, policy):
    answers = [
        keyed["narrow"].post("/v1/completions", json={**ASK, "policy": policy}),
        keyed["narrow"].post("/v1/completions", json={**ASK, "model": policy}),
        keyed["narrow"].post("/v1/route", json={"input": COOKING, "policy": policy}),
        keyed["narrow"].get(f"/v1/policies/{policy}"),
        keyed["narrow"].get(f"/v1/models/{policy}"),
    ]
    for answer in answers:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (403, "permission_denied")
        assert HIDDEN not in error["message"]
    assert keyed["wide"].post("/v1/completions", json={**ASK, "policy": policy}).is_success


SCOPES = [{}, {"scope": "token", "stride": 1}, {"scope": "recompute", "stride": 2}]


@pytest.mark.parametrize("policy", ["auto", "tle", "nearest"])
@pytest.mark.parametrize("routing", SCOPES, ids=str)
def test_the_router_never_gives_a_hidden_adapter(keyed, policy, routing):
    """The hidden one is by far the nearest: with a key for all it leads."""
    body = {**ASK, "policy": policy, "routing": routing or None}
    whole = keyed["wide"].post("/v1/completions", json=body).json()
    assert next(iter(whole["mixture"]["adapters"])) == HIDDEN
    for name, seen in (("narrow", SEEN), ("one", {"r8-a"})):
        answer = keyed[name].post("/v1/completions", json=body)
        told = answer.json()
        assert answer.status_code == 200, told
        assert set(told["mixture"]["adapters"]) <= seen
        assert set(told["mixture"]["adapters"])
        assert set(told["mixture"]["scores"]) <= seen
        assert HIDDEN not in answer.headers["x-loralloy-mixture"]
        assert HIDDEN not in json.dumps(told.get("trace", {}))
        weights = told["mixture"]["adapters"].values()
        assert sum(weights) == pytest.approx(1, abs=1e-4), "nothing went to what is hidden"
        if routing:
            steps = told["trace"]["choices"][0]["steps"]
            assert all(set(step["weights"]) <= seen for step in steps)
            assert set(told["trace"]["adapters"]) == seen


def test_keys_of_unlike_lists_weigh_side_by_side(keyed):
    """All at once in one batch: each follows its answer over its own adapters."""
    prompt = keyed["wide"].post("/tokenize", json={"prompt": COOKING}).json()["tokens"]
    body = {"model": "auto", "routing": {"scope": "token", "stride": 1}}
    seen = {"narrow": SEEN, "one": {"r8-a"}, "wide": SEEN | {HIDDEN, "r32"}}
    keys = {n: keyed[n].headers["authorization"].removeprefix("Bearer ") for n in seen}
    asks = [Ask(tuple(prompt), body, max_tokens=8)] * 2
    alone = {n: generate(keyed.with_key(keys[n]), asks)[0] for n in seen}
    for name, allowed in seen.items():
        for step in alone[name].steps:
            assert set(step) <= allowed
    assert alone["one"].steps != alone["narrow"].steps != alone["wide"].steps


def test_streams_tell_nothing_hidden(keyed):
    body = {
        **ASK,
        "model": "auto",
        "routing": {"scope": "token", "stride": 1},
        "stream": True,
        "stream_options": {"include_mixture": True},
    }
    with keyed["narrow"].stream("POST", "/v1/completions", json=body) as answer:
        text = answer.read().decode()
    assert '"r8-' in text
    assert HIDDEN not in text


def test_the_dry_run_tells_nothing_hidden(keyed):
    told = keyed["narrow"].post("/v1/route", json={"input": COOKING}).json()
    assert set(told["scores"]) == SEEN
    assert {member["name"] for member in told["members"]} <= SEEN
    assert HIDDEN in keyed["wide"].post("/v1/route", json={"input": COOKING}).json()["scores"]


def test_a_trace_belongs_to_the_key_that_made_it(keyed):
    body = {**ASK, "model": "auto", "routing": {"scope": "token"}}
    answer = keyed["narrow"].post(
        "/v1/completions", json=body, headers={"X-Request-Id": "narrow-1"}
    )
    assert answer.status_code == 200
    mine = keyed["narrow"].get("/v1/traces/narrow-1")
    assert mine.status_code == 200
    assert set(mine.json()["adapters"]) == SEEN
    for name in ("one", "wide", "admin"):
        other = keyed[name].get("/v1/traces/narrow-1")
        never = keyed[name].get("/v1/traces/never-1")
        assert refusal(other, "narrow-1") == refusal(never, "never-1")
        assert other.status_code == 404


def test_keys_never_share_a_prefix(keyed):
    prompt = tuple(30 + (29 * position) % 900 for position in range(2 * BLOCK + 5))
    keys = [
        keyed[name].headers["authorization"].removeprefix("Bearer ") for name in ("narrow", "wide")
    ]
    servers = [dataclasses.replace(keyed.server, api_key=key) for key in keys]
    for body in ({}, {"model": "r8-a"}):
        ask = [Ask(prompt, body, max_tokens=1)]
        assert [generate(server, ask)[0].cached for server in servers] == [0, 0]
        assert [generate(server, ask)[0].cached for server in servers] == [2 * BLOCK] * 2
