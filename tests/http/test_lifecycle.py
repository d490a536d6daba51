"""Leases, removal, health and metrics of the real server."""

import json
import subprocess
import sys
import threading
import time

import httpx
import pytest

from tests.support.broken_adapters import GoodAdapter

LONG = {"prompt": "one two three", "max_tokens": 400, "temperature": 0, "ignore_eos": True}
MANY = {**LONG, "model": "r8-a", "n": 16, "temperature": 1.0}
"""So many answers that they are still running when the test looks."""


def metric(http, name: str) -> float:
    for line in http.get("/metrics").text.splitlines():
        if line.startswith(name + " "):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"no metric {name}")


def until(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def test_health_and_readiness(http):
    assert http.get("/health").json() == {"status": "ok"}
    ready = http.get("/ready").json()
    assert ready["status"] == "ready"
    assert ready["adapters"] >= 8


def test_a_client_that_leaves_gives_its_lease_back(http, server):
    until(lambda: metric(http, "loralloy_leases") == 0)
    body = {**MANY, "stream": True}
    with server.client() as other:
        with other.stream("POST", "/v1/completions", json=body) as answer:
            lines = answer.iter_lines()  # held: thrown away, it would close the connection
            assert any(line.startswith("data: ") for line in lines)
            assert metric(http, "loralloy_leases") == 1
        until(lambda: metric(http, "loralloy_leases") == 0)


def test_a_client_that_gives_up_on_a_plain_answer_does_too(http, server):
    until(lambda: metric(http, "loralloy_leases") == 0)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/completions", json=MANY, timeout=0.3)
    until(lambda: metric(http, "loralloy_leases") == 0)
    until(
        lambda: metric(http, 'vllm:num_requests_running{engine="0",model_name="tiny-llama"}') == 0
    )


def test_errors_keep_no_lease(http):
    until(lambda: metric(http, "loralloy_leases") == 0)
    for body in ({"max_tokens": -1}, {"temperature": "hot"}, {"prompt": None}):
        assert http.post("/v1/completions", json={**LONG, "model": "r8-a", **body}).is_error
    assert metric(http, "loralloy_leases") == 0


def test_a_removal_waits_for_running_answers(http, server):
    read = GoodAdapter.read(server.adapters["r8-a"])
    files = read.files(config=read.config_bytes(lora_alpha=13))
    assert http.post("/v1/adapters", data={"name": "leaving"}, files=files).status_code == 201
    expected = http.post("/v1/completions", json={**LONG, "max_tokens": 60, "model": "leaving"})
    said: list[str] = []
    removed: list[httpx.Response] = []

    def remove() -> None:
        with server.client() as other:
            removed.append(other.delete("/v1/adapters/leaving"))

    body = {**LONG, "max_tokens": 60, "model": "leaving", "stream": True}
    remover = threading.Thread(target=remove)
    with server.client() as other, other.stream("POST", "/v1/completions", json=body) as answer:
        for line in answer.iter_lines():
            if not line.startswith("data: {"):
                continue
            said.append(json.loads(line[6:])["choices"][0]["text"])
            if len(said) == 1:
                remover.start()
                until(lambda: http.get("/v1/models/leaving").status_code == 404)
                refused = http.post("/v1/completions", json={**body, "stream": False})
                assert refused.status_code == 404
    remover.join()
    assert removed[0].status_code == 200
    assert "".join(said) == expected.json()["choices"][0]["text"]


def test_metrics_count_mixtures_beside_the_engines_own(http):
    before = http.get("/metrics").text
    weight = 'loralloy_adapter_weight_total{adapter="r8-a"}'
    started = next((line for line in before.splitlines() if line.startswith(weight)), f"{weight} 0")
    body = {**LONG, "max_tokens": 1, "mixture": {"adapters": {"r8-a": 0.25, "r16": 0.75}}}
    assert http.post("/v1/completions", json=body).status_code == 200
    http.post("/v1/completions", json={**LONG, "max_tokens": 1, "model": "auto"})
    text = http.get("/metrics").text
    grown = next(line for line in text.splitlines() if line.startswith(weight))
    growth = float(grown.rpartition(" ")[2]) - float(started.rpartition(" ")[2])
    assert growth >= 0.25
    for name in (
        'loralloy_routing_seconds_count{policy="auto"}',
        'loralloy_prompts_total{policy="auto"}',
        "loralloy_adapter_load_seconds_count",
        "loralloy_resident_adapters",
        "vllm:num_requests_running",
    ):
        assert name in text


def test_the_dry_run_explains_itself(http):
    told = http.post("/v1/route", json={"input": "a recipe for the kitchen"}).json()
    assert told["policy"] == "auto"
    best = max(told["scores"], key=told["scores"].get)
    assert best == "r16"
    assert told["members"][0]["name"] == "r16"
    assert told["encode_ms"] >= 0
    assert told["text_window"] == "a recipe for the kitchen"
    few = http.post(
        "/v1/route", json={"prompt": "a recipe for the kitchen", "routing": {"top_k": 1}}
    ).json()
    assert few["mixture"]["adapters"] == {"r16": 1.0}


def test_the_policies_are_listed(http):
    listed = {policy["id"]: policy for policy in http.get("/v1/policies").json()["data"]}
    assert listed["auto"]["kind"] == "softmax"
    assert http.get("/v1/policies/auto").json() == listed["auto"]


def test_request_ids_come_back(http):
    assert http.get("/v1/models", headers={"X-Request-Id": "a-1"}).headers["x-request-id"] == "a-1"


def loralloy(server, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from server.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"LORALLOY_URL": server.url, "COLUMNS": "120", "PYTHONPATH": "."},
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code:
        assert len(done.stderr.strip().splitlines()) == 1
        return done.stderr
    return done.stdout


def test_the_command_line_talks_to_the_server(server):
    assert "r8-a" in loralloy(server, "adapters", "list")
    assert json.loads(loralloy(server, "adapters", "show", "r16"))["rank"] == 16
    assert "r16" in loralloy(server, "route", "a recipe for the kitchen")
    routed = json.loads(loralloy(server, "route", "--json", "--policy", "nearest", "a poem"))
    assert routed["policy"] == "nearest"
    said = loralloy(server, "chat", "--once", "--max-tokens", "4", "--mixture", "r8-a=1", "hello")
    assert "[r8-a 1.00]" in said


def test_the_command_line_pushes_and_removes(server, tmp_path):
    read = GoodAdapter.read(server.adapters["r8-a"])
    (tmp_path / "adapter_config.json").write_bytes(read.config_bytes(lora_alpha=17))
    (tmp_path / "adapter_model.safetensors").write_bytes(read.weights_bytes())
    (tmp_path / "router.json").write_text(json.dumps({"examples": ["a sailing boat"]}))
    pushed = loralloy(server, "adapters", "push", "boats", str(tmp_path))
    assert "rank 8" in pushed
    assert "not routed" not in pushed
    assert "removed" in loralloy(server, "adapters", "remove", "boats")


def test_the_command_lines_errors_take_one_line(server):
    assert "adapter_not_found" in loralloy(server, "adapters", "show", "nope", code=1)
    assert "model_not_found" in loralloy(server, "chat", "--once", "-m", "nope", "hi", code=1)
    assert "is not a weight" in loralloy(server, "chat", "--once", "--mixture", "a", "hi", code=1)
    told = loralloy(server, "route", "x", "--url", "http://127.0.0.1:9", code=1)
    assert "no server answers" in told
