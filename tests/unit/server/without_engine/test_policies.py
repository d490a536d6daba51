"""Policies over HTTP: put, replaced, gone back to, removed, kept, and by whom."""

import pytest

from router.policies.config import parse_policy
from tests.support.access import made
from tests.support.bare_server import BareServer
from tests.support.tiny_llama import BASE_NAME

BLEND = {"kind": "softmax", "temperature": 0.2, "top_k": 2}


def put(server: BareServer, name: str, options: object, **headers: str):
    return server.http.put(f"/v1/policies/{name}", json=options, headers=headers)


def error_of(answer) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


def test_a_new_policy_serves_at_once(server):
    answer = put(server, "blend", BLEND)
    told = answer.json()
    assert (answer.status_code, told["id"], told["source"]) == (201, "blend", "api")
    assert (told["temperature"], told["top_k"]) == (0.2, 2)
    version = parse_policy("blend", BLEND).version
    assert told["version"] == version
    assert answer.headers["etag"] == f'"{version}"'
    got = server.http.get("/v1/policies/blend")
    assert (got.json(), got.headers["etag"]) == (told, f'"{version}"')
    assert "blend" in [one["id"] for one in server.http.get("/v1/models").json()["data"]]
    assert "blend" in server.engine.named
    routed = server.http.post("/v1/route", json={"input": "one", "policy": "blend"})
    assert routed.json()["policy_version"] == version


def test_a_change_counts_from_the_next_request_on(server):
    put(server, "blend", BLEND)
    first = server.parts.catalogue.router.policy("blend")
    changed = put(server, "blend", {**BLEND, "top_k": 3})
    assert (changed.status_code, changed.json()["top_k"]) == (200, 3)
    assert first.top_k == 2, "whoever has the policy keeps it as it was"
    equal = put(server, "blend", {**BLEND, "top_k": 3})
    assert (equal.status_code, equal.headers["etag"]) == (200, changed.headers["etag"])


def test_earlier_versions_are_kept_and_can_be_put_again(server):
    for k in (2, 3, 3, 4):
        put(server, "blend", {**BLEND, "top_k": k})
    put(server, "blend", {**BLEND, "top_k": 4, "description": "another word, the same weights"})
    listed = server.http.get("/v1/policies/blend/versions").json()["data"]
    assert [(one["number"], one["options"]["top_k"]) for one in listed] == [(3, 4), (2, 3), (1, 2)]
    assert listed[0]["options"]["description"].startswith("another")
    back = put(server, "blend", listed[2]["options"]).json()
    assert (back["version"], back["top_k"]) == (listed[2]["version"], 2)
    for k in range(1, 40):
        put(server, "blend", {**BLEND, "top_k": k})
    numbers = [one["number"] for one in _versions(server, "blend")]
    assert (len(numbers), numbers[0]) == (16, 43)


def _versions(server: BareServer, name: str):
    return server.http.get(f"/v1/policies/{name}/versions").json()["data"]


def test_a_change_is_bound_to_what_its_author_saw(server):
    seen = put(server, "blend", BLEND).headers["etag"]
    changed = put(server, "blend", {**BLEND, "top_k": 3}, **{"If-Match": seen})
    assert changed.status_code == 200
    for late in (seen, '"000000000000"'):
        answer = put(server, "blend", BLEND, **{"If-Match": late})
        assert error_of(answer) == (412, "policy_version_conflict", None)
        gone = server.http.delete("/v1/policies/blend", headers={"If-Match": late})
        assert error_of(gone) == (412, "policy_version_conflict", None)
    assert server.http.get("/v1/policies/blend").json()["top_k"] == 3
    for missing in (seen, "*"):
        answer = put(server, "unseen", BLEND, **{"If-Match": missing})
        assert error_of(answer) == (412, "policy_version_conflict", None)
    assert put(server, "blend", BLEND, **{"If-Match": "*"}).status_code == 200
    for nonsense in ("abc", 'W/"000000000000"', '"a", "b"'):
        answer = put(server, "blend", BLEND, **{"If-Match": nonsense})
        assert error_of(answer) == (400, "invalid_request", "If-Match")
    of_file = server.http.get("/v1/policies/even").headers["etag"]
    assert put(server, "even", BLEND, **{"If-Match": of_file}).status_code == 200


FAULTS = [
    ({"kind": "softmax", "temperature": -1}, "temperature"),
    ({"kind": "softmax", "temprature": 1}, "temprature"),
    ({"kind": "softmax", "candidates": {"include": []}}, "candidates.include"),
    ({"kind": "softmax", "candidates": {"include": ["../x"]}}, "candidates.include.0"),
    ({"kind": "softmax", "window": {"part": "middle"}}, "window.part"),
    ({"kind": "softmax", "top_k": "two"}, "top_k"),
    ({"kind": "softmax", "min_weight": True}, "min_weight"),
    ({"kind": "uniform", "threshold": 0.5}, "threshold"),
    ({"kind": "fixed"}, "weights"),
    ({"kind": "fixed", "weights": {"maths": -1}}, "weights.maths"),
    ({"kind": "grand"}, "kind"),
    ({"temperature": 1}, "kind"),
    ({"kind": ["softmax"]}, "kind"),
]


@pytest.mark.parametrize(("options", "field"), FAULTS, ids=str)
def test_a_fault_names_its_field(server, options, field):
    answer = put(server, "blend", options)
    assert error_of(answer) == (400, "invalid_policy", field)
    assert answer.json()["error"]["message"].startswith(f"{field}: ")
    assert server.http.get("/v1/policies/blend").status_code == 404


def test_what_is_no_policy_is_refused(server):
    for name in ("Blend", "a b", "x" * 65, "base"):
        assert error_of(put(server, name, BLEND)) == (400, "invalid_policy", "name")
    static = put(server, "blend", {**BLEND, "encoder": "static"})
    assert error_of(static) == (400, "no_static_encoder", "encoder")
    assert error_of(put(server, "blend", [BLEND])) == (400, "invalid_json", None)
    for raw in (b"{", b'{"kind": "softmax", "temperature": NaN}', b'{"kind": "\\ud800"}'):
        headers = {"Content-Type": "application/json"}
        answer = server.http.put("/v1/policies/blend", content=raw, headers=headers)
        assert error_of(answer) == (400, "invalid_json", None)
    plain = server.http.put("/v1/policies/blend", content=b"kind: softmax")
    assert error_of(plain) == (400, "invalid_request", None)
    large = {"kind": "softmax", "candidates": {"exclude": ["x" * 64] * 20_000}}
    assert error_of(put(server, "blend", large)) == (413, "request_too_large", None)
    assert [one["id"] for one in server.http.get("/v1/policies").json()["data"]] == ["auto", "even"]


def test_a_name_means_one_thing(server, tiny_adapters):
    server.push("sums", tiny_adapters["r8-a"])
    assert error_of(put(server, "sums", BLEND)) == (409, "policy_name_taken", "name")
    assert error_of(put(server, BASE_NAME, BLEND)) == (409, "policy_name_taken", "name")
    put(server, "blend", BLEND)
    files = {"archive": ("a.zip", b"none")}
    taken = server.http.post("/v1/adapters", data={"name": "blend"}, files=files)
    assert taken.status_code == 400
    server.http.delete("/v1/policies/blend")
    server.push("blend", tiny_adapters["r8-a"])
    assert error_of(put(server, "blend", BLEND)) == (409, "policy_name_taken", "name")


def test_what_was_put_over_the_files_policy_can_be_taken_off_again(server):
    of_file = server.http.get("/v1/policies/auto").json()
    assert of_file["source"] == "file"
    over = put(server, "auto", BLEND)
    assert (over.status_code, over.json()["source"]) == (200, "api")
    gone = server.http.delete("/v1/policies/auto")
    assert gone.json() == {
        "id": "auto",
        "object": "policy",
        "deleted": True,
        "file_version": of_file["version"],
    }
    assert server.http.get("/v1/policies/auto").json() == of_file
    assert server.parts.catalogue.router.policy("auto").temperature == 0.05
    refused = server.http.delete("/v1/policies/auto")
    assert error_of(refused) == (409, "policy_not_removable", "name")
    assert "file of policies" in refused.json()["error"]["message"]


def test_a_removed_policy_is_gone(server):
    put(server, "blend", BLEND)
    gone = server.http.delete("/v1/policies/blend")
    assert (gone.status_code, gone.json()["file_version"]) == (200, None)
    for answer in (
        server.http.get("/v1/policies/blend"),
        server.http.get("/v1/policies/blend/versions"),
        server.http.delete("/v1/policies/blend"),
    ):
        assert error_of(answer)[:2] == (404, "unknown_policy")
    asked = server.http.post("/v1/completions", json={"model": "blend", "prompt": "x"})
    assert error_of(asked) == (404, "model_not_found", "model")
    assert "blend" not in server.engine.named
    assert _versions(server, "even") == [], "nothing was put over the file's"


def test_the_series_of_a_removed_policy_goes(server, tiny_adapters):
    server.push("sums", tiny_adapters["r8-a"])
    put(server, "blend", {"kind": "uniform"})
    server.applied(model="blend")
    assert b'loralloy_prompts_total{policy="blend"} 1.0' in server.parts.metrics.exposition()
    server.http.delete("/v1/policies/blend")
    assert b"blend" not in server.parts.metrics.exposition()


def test_who_did_what_is_in_the_audit_log(server):
    put(server, "blend", BLEND)
    put(server, "blend", {"kind": "x"})
    server.http.delete("/v1/policies/blend")
    log = server.http.get("/v1/audit").json()["data"]
    version = parse_policy("blend", BLEND).version
    assert [(one["action"], one["target"], one["outcome"]) for one in log] == [
        ("policy.remove", "blend", "done"),
        ("policy.put", "blend", "invalid_policy"),
        ("policy.put", "blend", "done"),
    ]
    assert log[2]["detail"] == {"version": version, "created": True}


def test_only_admins_change_policies_and_others_see_what_they_can_use(server, tiny_adapters):
    for name in ("r8-a", "r16"):
        server.push(name, tiny_adapters[name])
    put(server, "hidden", {"kind": "fixed", "weights": {"r16": 1.0}})
    put(server, "lists", {"kind": "uniform", "candidates": {"include": ["r8-a", "r16"]}})
    narrow = server.holding(made(server.keys, "user", "r8-*")[0])
    server.parts.access.key_refresh.look()
    for method, path in (
        ("PUT", "/v1/policies/blend"),
        ("DELETE", "/v1/policies/hidden"),
        ("GET", "/v1/policies/lists/versions"),
    ):
        answer = server.http.request(method, path, headers=narrow, json=BLEND)
        assert error_of(answer)[:2] == (403, "permission_denied")
    listed = server.http.get("/v1/policies", headers=narrow).json()["data"]
    assert {one["id"] for one in listed} == {"auto", "even", "lists"}
    assert "r16" not in str(listed)
    hidden = server.http.get("/v1/policies/hidden", headers=narrow)
    assert error_of(hidden)[:2] == (403, "permission_denied")
    assert "r16" not in hidden.text
    # What bars it is what it says now, not what it said when the key was first seen.
    put(server, "hidden", {"kind": "fixed", "weights": {"r8-a": 1.0}})
    asked = {"model": "hidden", "prompt": "x"}
    assert server.http.post("/v1/completions", json=asked, headers=narrow).status_code == 200
