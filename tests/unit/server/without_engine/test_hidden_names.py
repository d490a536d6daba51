"""What a key does not see cannot be found out by guessing: no digest, count or error tells it."""

import json
from hashlib import sha256
from itertools import combinations

import pytest

from router.policies.config import parse_policy
from tests.support.access import made
from tests.support.bare_server import BareServer

SEEN, HIDDEN = "maths", "secret"
NAMES = [SEEN, HIDDEN, "other", "another"]
POLICIES = {
    "includes": {"kind": "tle", "candidates": {"include": [HIDDEN, SEEN]}},
    "excludes": {"kind": "tle", "candidates": {"exclude": [HIDDEN]}},
    "follows": {"kind": "tle", "scope": "token", "candidates": {"include": [SEEN, HIDDEN]}},
    "weighs-zero": {"kind": "fixed", "weights": {SEEN: 1.0, HIDDEN: 0.0}},
    "even": {"kind": "uniform", "candidates": {"include": [SEEN, HIDDEN]}},
}


@pytest.fixture
def server(start, tiny_adapters) -> BareServer:
    running = start()
    running.push(SEEN, tiny_adapters["r8-a"], description="sums")
    running.push(HIDDEN, tiny_adapters["r8-b"], description="science")
    for name, options in POLICIES.items():
        assert running.http.put(f"/v1/policies/{name}", json=options).status_code in (200, 201)
    return running


@pytest.fixture
def user(server):
    key, _ = made(server.keys, "user", SEEN)
    server.parts.access.key_refresh.look()
    return server.holding(key)


def versions_told(server: BareServer, headers: dict[str, str], policy: str) -> set[str]:
    """Every version of a policy that any answer tells whoever sends these headers."""
    http = server.http
    (listed,) = [
        one
        for one in http.get("/v1/policies", headers=headers).json()["data"]
        if one["id"] == policy
    ]
    got = http.get(f"/v1/policies/{policy}", headers=headers)
    body = {"input": "What is 12 times 7?", "policy": policy}
    routed = http.post("/v1/route", json=body, headers=headers).json()
    completion = {"prompt": "What is 12 times 7?", "policy": policy}
    answered = http.post("/v1/completions", json=completion, headers=headers)
    header = answered.headers["x-loralloy-mixture"].partition("@")[2].partition(",")[0]
    told = {
        *(listed["version"], got.json()["version"], got.headers["etag"].strip('"')),
        *(routed["policy_version"], routed["mixture"]["policy_version"], header),
        answered.json()["mixture"]["policy_version"],
    }
    request_id = answered.headers["x-request-id"]
    trace = http.get(f"/v1/traces/{request_id}", headers=headers)
    return told | ({trace.json()["policy_version"]} if trace.is_success else set())


def guesses(policy: str) -> set[str]:
    """Digests of the policy with every set of names that a stranger may think of."""
    options = POLICIES[policy]
    found = set()
    for size in range(len(NAMES) + 1):
        for chosen in combinations(NAMES, size):
            if HIDDEN not in chosen:
                continue
            for order in (chosen, chosen[::-1]):
                raw = dict(options)
                if "weights" in raw:
                    raw["weights"] = {name: float(name == SEEN) for name in order}
                else:
                    kind = next(iter(raw["candidates"]))
                    raw["candidates"] = {kind: list(order)}
                if raw.get("weights") is None or any(raw["weights"].values()):
                    found.add(parse_policy(policy, raw).version)
    return found


@pytest.mark.parametrize("policy", POLICIES)
def test_no_version_that_is_told_depends_on_a_hidden_name(server, user, policy):
    whole = parse_policy(policy, POLICIES[policy]).version
    assert versions_told(server, {}, policy) == {whole}
    (told,) = versions_told(server, user, policy)
    assert told not in guesses(policy)
    shown = server.http.get(f"/v1/policies/{policy}", headers=user).json()
    assert HIDDEN not in json.dumps(shown)
    named = {
        key: value
        for key, value in shown.items()
        if key not in ("id", "object", "version", "source", "description")
    }
    canonical = json.dumps(named, sort_keys=True, separators=(",", ":"))
    assert told == sha256(canonical.encode()).hexdigest()[: len(told)], "all of it is shown"


@pytest.mark.parametrize("policy", ["includes", "excludes", "follows", "even"])
def test_a_version_is_the_same_whatever_is_hidden(server, user, policy):
    (before,) = versions_told(server, user, policy)
    lists = POLICIES[policy]["candidates"]
    other = {kind: [{HIDDEN: "nobody"}.get(n, n) for n in names] for kind, names in lists.items()}
    server.http.put(f"/v1/policies/{policy}", json={**POLICIES[policy], "candidates": other})
    assert versions_told(server, user, policy) == {before}


def test_changes_to_a_policy_are_no_way_to_try_names(server, user):
    told = set()
    for guess in (HIDDEN, "nobody"):
        for kind in ("tle", "uniform"):
            policy = {"tle": "includes", "uniform": "even"}[kind]
            body = {"input": "x", "policy": policy, "routing": {"candidates": {"exclude": [guess]}}}
            answer = server.http.post("/v1/route", json=body, headers=user).json()
            told.add((policy, answer["policy_version"]))
    assert len(told) == 2


def test_errors_list_no_policy_that_cannot_be_used(server, user):
    server.http.put("/v1/policies/hush", json={"kind": "fixed", "weights": {HIDDEN: 1.0}})
    answer = server.http.get("/v1/policies/nothing", headers=user)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_policy")
    assert "hush" not in answer.text
    assert "includes" in answer.text
    assert "hush" in server.http.get("/v1/policies/nothing").text


def test_strangers_are_not_told_how_many_adapters_there_are(server):
    stranger = {"Authorization": ""}
    before = server.http.get("/ready", headers=stranger).json()
    server.http.delete(f"/v1/adapters/{HIDDEN}")
    assert server.http.get("/ready", headers=stranger).json() == before == {"status": "ready"}
