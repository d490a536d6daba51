"""API keys on the real server: roles, limits, revocation while it runs, the audit log."""

import json
import threading
import time

import httpx
import pytest

from server.access.keys import ROLES
from server.access.rights import RIGHTS, Right
from tests.support.running_server import adapter_files

ASK = {"model": "r8-a", "prompt": "one two three", "max_tokens": 2, "temperature": 0}
LONG = {**ASK, "max_tokens": 400, "ignore_eos": True}
MANY = {**LONG, "n": 16, "temperature": 1.0}
"""So many answers that they are still running when the test looks."""


def until(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def code(answer: httpx.Response) -> str:
    return answer.json()["error"]["code"]


def metric(keyed, name: str) -> float:
    told = keyed["metrics"].get("/metrics").text.splitlines()
    return next(float(line.rpartition(" ")[2]) for line in told if line.startswith(f"{name} "))


def engine_metric(keyed, name: str) -> float:
    """One of vLLM's own, over all of its labels."""
    told = keyed["metrics"].get("/metrics").text.splitlines()
    found = [line.rpartition(" ")[2] for line in told if line.startswith(f"vllm:{name}{{")]
    assert found, name
    return sum(map(float, found))


def test_every_route_of_the_running_app_has_a_declared_right(keyed):
    paths = keyed["admin"].get("/openapi.json").json()["paths"]
    served = {(method.upper(), path) for path, told in paths.items() for method in told}
    declared = {(method, path.replace(":path", "")) for method, path in RIGHTS}
    pages = {("GET", path) for path in ("/openapi.json", "/docs", "/docs/oauth2-redirect")}
    assert served == declared - pages


@pytest.mark.parametrize(("method", "path"), sorted(RIGHTS))
def test_nobody_comes_in_without_a_key(keyed, method, path):
    filled = path.replace(":path", "").replace("{", "").replace("}", "")
    for headers in ({}, {"Authorization": "Bearer lla_wrong"}, {"Authorization": "Basic eA=="}):
        answer = httpx.request(method, keyed.server.url + filled, headers=headers, timeout=60)
        if RIGHTS[method, path] is Right.NOTHING:
            assert answer.status_code == 200
        else:
            assert (answer.status_code, code(answer)) == (401, "invalid_api_key")


ADMINS = [
    ("POST", "/v1/adapters"),
    ("PUT", "/v1/adapters/r8-a"),
    ("DELETE", "/v1/adapters/r8-a"),
    ("POST", "/v1/adapters/r8-a/restore"),
    ("GET", "/v1/audit"),
]


@pytest.mark.parametrize(("method", "path"), ADMINS)
@pytest.mark.parametrize("name", ["narrow", "wide", "metrics"])
def test_only_admins_change_adapters_and_read_the_log(keyed, name, method, path):
    before = keyed["admin"].get("/v1/adapters").json()
    files = adapter_files(keyed.server.adapters["r32"])
    sent = {"files": files, "data": {"name": "mine"}} if method in ("POST", "PUT") else {}
    answer = keyed[name].request(method, path, **sent)
    assert (answer.status_code, code(answer)) == (403, "permission_denied")
    assert answer.json()["error"]["type"] == "permission_error"
    assert keyed["admin"].get("/v1/adapters").json()["data"] == before["data"]


def test_metrics_are_for_admins_and_keys_made_for_them(keyed):
    for name, status in (("metrics", 200), ("admin", 200), ("narrow", 403), ("wide", 403)):
        assert keyed[name].get("/metrics").status_code == status
    for path in ("/v1/models", "/v1/adapters", "/docs"):
        assert code(keyed["metrics"].get(path)) == "permission_denied"
    assert code(keyed["metrics"].post("/v1/completions", json=ASK)) == "permission_denied"
    assert set(ROLES) == {"user", "admin", "metrics"}


def test_a_key_beyond_its_rate_waits(keyed):
    answers = [keyed["hurried"].get("/v1/models") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert code(answers[3]) == "rate_limited"
    assert answers[3].json()["error"]["type"] == "rate_limit_error"
    assert 1 <= int(answers[3].headers["retry-after"]) <= 20
    assert code(keyed["hurried"].post("/v1/completions", json=ASK)) == "rate_limited"
    assert keyed["wide"].get("/v1/models").status_code == 200
    assert metric(keyed, "loralloy_limited_calls_total") >= 2


def test_a_key_at_its_limit_of_running_requests_waits_for_one_to_end(keyed):
    single = keyed["single"]
    until(lambda: metric(keyed, "loralloy_running_calls") == 1)  # the question itself
    with single.stream("POST", "/v1/completions", json={**MANY, "stream": True}) as answer:
        lines = answer.iter_lines()
        assert any(line.startswith("data: ") for line in lines)
        refused = single.post("/v1/completions", json=ASK)
        assert (refused.status_code, code(refused)) == (429, "too_many_concurrent")
        assert refused.headers["retry-after"] == "1"
        assert keyed["wide"].post("/v1/completions", json=ASK).status_code == 200
        assert metric(keyed, "loralloy_running_calls") == 2
    # The stream was left early, and its place comes back.
    until(lambda: metric(keyed, "loralloy_running_calls") == 1)
    assert single.post("/v1/completions", json=ASK).status_code == 200


def test_every_end_of_a_request_gives_its_place_back(keyed):
    single = keyed["single"]
    for body, status in (
        (ASK, 200),
        ({**ASK, "stream": True}, 200),
        ({**ASK, "model": "nobody"}, 404),
        ({**ASK, "temperature": "hot"}, 400),
        ({**ASK, "max_tokens": 10**6}, 400),
    ):
        for _ in range(2):
            assert single.post("/v1/completions", json=body).status_code == status
    assert single.delete("/v1/adapters/r8-a").status_code == 403
    assert single.get("/nowhere").status_code == 404
    with pytest.raises(httpx.ReadTimeout):
        single.post("/v1/completions", json=MANY, timeout=0.3)
    until(lambda: metric(keyed, "loralloy_running_calls") == 1)
    assert single.post("/v1/completions", json=ASK).status_code == 200


def test_a_key_is_made_and_revoked_while_the_server_runs(keyed):
    key = keyed.keys("create", "--note", "short-lived")
    (line,) = [one for one in keyed.keys("list").splitlines() if "short-lived" in one]
    key_id = line.split()[0]
    with keyed.with_key(key).client() as http:
        until(lambda: http.get("/v1/models").status_code == 200)
        pieces: list[str] = []
        begun = threading.Event()

        def listen() -> None:
            with (
                keyed.with_key(key).client() as other,
                other.stream("POST", "/v1/completions", json={**LONG, "stream": True}) as answer,
            ):
                for line in answer.iter_lines():
                    pieces.append(line)
                    begun.set()

        listener = threading.Thread(target=listen)
        listener.start()
        assert begun.wait(60)
        assert keyed.keys("revoke", key_id) == f"{key_id}: revoked"
        until(lambda: http.get("/v1/models").status_code == 401)
        assert code(http.post("/v1/completions", json=ASK)) == "invalid_api_key"
        listener.join()
    assert "data: [DONE]" in pieces, "an answer that runs ends as it would have"
    assert key_id not in keyed.keys("list")
    assert key_id in keyed.keys("list", "--revoked")
    assert key not in keyed.keys("list", "--revoked")


def actions(keyed, target: str) -> list[tuple[str, str]]:
    data = keyed["admin"].get("/v1/audit", params={"limit": 200}).json()["data"]
    return [(one["action"], one["outcome"]) for one in data if one["target"] == target]


def test_what_admins_do_is_in_the_audit_log(keyed):
    http = keyed["admin"]
    files = {n: adapter_files(keyed.server.adapters[n]) for n in ("r8-a", "r8-b")}

    def send(method: str, path: str, number: int, **body) -> dict:
        headers = {"X-Request-Id": f"audited-{number}"}
        return http.request(method, path, headers=headers, **body).json()

    one = "/v1/adapters/audited"
    added = send("POST", "/v1/adapters", 1, data={"name": "audited"}, files=files["r8-a"])
    send("POST", "/v1/adapters", 2, data={"name": "audited"}, files=files["r8-b"])
    send("PUT", one, 3, files=files["r8-b"])
    send("POST", f"{one}/restore", 4, json={"digest": added["digest"]})
    send("DELETE", one, 5)
    send("DELETE", one, 6)
    keyed["narrow"].delete(one)
    expected = [
        ("adapter.add", "done"),
        ("adapter.add", "adapter_exists"),
        ("adapter.replace", "done"),
        ("adapter.restore", "done"),
        ("adapter.remove", "done"),
        ("adapter.remove", "adapter_not_found"),
    ]
    assert actions(keyed, "audited") == expected[::-1], "and a refused caller is not in it"
    data = http.get("/v1/audit", params={"limit": 200}).json()["data"]
    mine = [entry for entry in data if entry["target"] == "audited"]
    assert [entry["request_id"] for entry in mine] == [f"audited-{n}" for n in range(6, 0, -1)]
    assert len({entry["actor"] for entry in mine}) == 1
    assert mine[0]["actor"].startswith("key-")
    assert mine[-1]["detail"] == {"digest": added["digest"], "version": 1, "created": True}
    assert '"action": "adapter.add"' in keyed.server.log.read_text()


def test_keys_made_from_the_command_line_are_in_it_too(keyed):
    data = keyed["admin"].get("/v1/audit", params={"limit": 1000}).json()["data"]
    made = [entry for entry in data if entry["action"] == "key.create"]
    assert {entry["actor"] for entry in made} == {"cli"}
    assert ["r8-*"] in [entry["detail"]["adapters"] for entry in made]
    assert "lla_" not in json.dumps(data)


def test_the_log_comes_in_pages(keyed):
    http = keyed["admin"]
    first = http.get("/v1/audit", params={"limit": 3}).json()
    assert (len(first["data"]), first["has_more"]) == (3, True)
    rest = http.get("/v1/audit", params={"before": first["data"][-1]["id"], "limit": 1000}).json()
    assert rest["has_more"] is False
    ids = [entry["id"] for entry in first["data"] + rest["data"]]
    assert ids == sorted(set(ids), reverse=True)
    assert ids[-1] == 1
    for wrong in ({"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"before": 0}, {"before": 2**70}):
        answer = http.get("/v1/audit", params=wrong)
        assert answer.status_code == 400, wrong
        assert answer.json()["error"]["param"] == next(iter(wrong))


def test_a_key_does_not_wait_for_all_that_another_has_asked_for(keyed):
    """One key's 64 answers are in the engine, half of them in line, when another asks for one."""

    def in_the_engine() -> float:
        states = ("num_requests_running", "num_requests_waiting")
        return sum(engine_metric(keyed, one) for one in states)

    body = {**LONG, "n": 64, "temperature": 1.0, "stream": True}
    with keyed["wide"].stream("POST", "/v1/completions", json=body) as stream:
        lines = stream.iter_lines()  # kept: once it is collected, the client has left
        assert any(line.startswith("data: {") for line in lines)
        until(lambda: in_the_engine() == 64)
        before = engine_metric(keyed, "request_success_total")
        answer = keyed["one"].post("/v1/completions", json={**ASK, "max_tokens": 1})
        assert answer.status_code == 200
        ended = engine_metric(keyed, "request_success_total") - before
    assert 1 <= ended < 1 + 32, "most of the answers that were asked for before came before"
