"""The curl scripts: one for every route, each run against the real server."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.running_server import free_port
from tests.support.scripted_server import says, scripted

FOLDER = Path(__file__).resolve().parents[2] / "clients" / "curl"
SCRIPTS = {file.stem: file for file in sorted(FOLDER.glob("*.sh"))}
ROUTES = {
    name: re.findall(r"^# ([A-Z]+) ([^:\s]+): \w", file.read_text(), re.M)
    for name, file in SCRIPTS.items()
}
# vLLM keeps no responses here, so that its routes always answer 404.
WITHOUT_SCRIPT = {
    ("GET", "/v1/responses/{response_id}"),
    ("POST", "/v1/responses/{response_id}/cancel"),
    ("POST", "/lora-adapters"),  # always refused
}
SAY = '{"model": "r8-a", "prompt": "one two", "max_tokens": 3}'
FOLLOW = (
    '{"prompt": "one two", "max_tokens": 4, "policy": "auto",'
    ' "routing": {"scope": "token", "stride": 2}}'
)

RUNS: dict[str, tuple[list[str], str]] = {
    "chat": ([], '"policy": "auto"'),
    "chat-stream": ([], "data: [DONE]"),
    "completions": ([SAY], '"mixture": {"adapters": {"r8-a": 1.0}'),
    "responses": ([], '"object":"response"'),
    "tokenize": ([], '"tokens":['),
    "detokenize": ([], '"prompt":'),
    "models-list": ([], '"id":"tiny-llama"'),
    "models-get": (["r8-a"], '"kind":"adapter"'),
    "route": ([], '"members":['),
    "adapters-list": ([], '"id":"r8-a"'),
    "adapters-get": (["r8-a"], '"rank":8'),
    "adapters-push": (
        ["by-curl", "ADAPTER", "@sums; and, more"],
        '"description":"@sums; and, more"',
    ),
    "adapters-describe": (["by-curl", "@more; sums"], '"description":"@more; sums"'),
    "adapters-replace": (["by-curl", "OTHER"], '"version":2'),
    "adapters-versions": (["by-curl"], '"number":1'),
    "adapters-restore": (["by-curl", "DIGEST"], '"version":3'),
    "adapters-remove": (["by-curl"], '"deleted":true'),
    "imports": (["by-import", "SOURCE"], '"name":"by-import"'),
    "jobs-list": ([], '"kind":"import"'),
    "jobs-get": (["JOB"], '"object":"job"'),
    "jobs-cancel": (["JOB"], '"state":"'),
    "lora-adapters": ([], '"path":"r8-a"'),
    "lora-load": (["by-load", "PATH"], "Success: LoRA adapter 'by-load' added successfully."),
    "lora-unload": (["by-load"], "Success: LoRA adapter 'by-load' removed successfully."),
    "policies-list": ([], '"id":"auto"'),
    "policies-get": (["auto"], '"kind":"softmax"'),
    "policies-put": (["put-by-curl"], '"temperature":0.2'),
    "policies-versions": (["put-by-curl"], '"number":1'),
    "policies-remove": (["put-by-curl"], '"deleted":true'),
    "traces": (["traced-by-curl"], '"stride":2'),
    "audit": ([], '"action":"adapter.remove","target":"by-curl","outcome":"done"'),
    "health": ([], '"status":"ok"'),
    "ready": ([], '"status":"ready"'),
    "metrics": ([], "loralloy_adapters "),
}
"""Script → its arguments, and what its output must hold; in this order."""


def run(name: str, arguments: list[str], url: str, **environment: str):
    return subprocess.run(
        [str(SCRIPTS[name]), *arguments],
        env={"PATH": os.environ["PATH"], "LORALLOY_URL": url, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def prepared(server):
    """A trace to ask for, and no upload left behind."""
    with server.client() as http:
        body = json.loads(FOLLOW)
        http.post("/v1/completions", json=body, headers={"X-Request-Id": "traced-by-curl"})
        yield server
        for name in ("by-curl", "by-import", "by-load"):
            http.delete(f"/v1/adapters/{name}")
        http.delete("/v1/policies/put-by-curl")


def test_every_script_is_run_and_listed():
    assert set(RUNS) == set(SCRIPTS)
    readme = (FOLDER / "README.md").read_text()
    for name, routes in ROUTES.items():
        (route,) = routes
        assert f"| [`{name}.sh`]({name}.sh) | `{' '.join(route)}`" in readme


def test_every_route_of_the_server_has_a_script(server):
    with server.client() as http:
        paths = http.get("/openapi.json").json()["paths"]
    served = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    scripted_routes = {tuple(route) for routes in ROUTES.values() for route in routes}
    assert served - scripted_routes == WITHOUT_SCRIPT
    assert scripted_routes <= served


@pytest.mark.parametrize("name", RUNS)
def test_a_script_works(name, prepared):
    arguments, expected = RUNS[name]
    with prepared.client() as http:
        digest = http.get("/v1/adapters/r8-a").json()["digest"]
        jobs = http.get("/v1/jobs").json()["data"]
    given = {
        "ADAPTER": str(prepared.adapters["r8-a"]),
        "OTHER": str(prepared.adapters["r8-b"]),
        "DIGEST": digest,
        "SOURCE": f"file://{prepared.adapters['r8-a']}",
        "PATH": str(prepared.adapters["r8-b"]),
        "JOB": jobs[0]["id"] if jobs else "",
    }
    done = run(name, [given.get(one, one) for one in arguments], prepared.url)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert expected in done.stdout


@pytest.mark.parametrize("name", RUNS)
def test_a_script_fails_with_the_servers_error(name, server, tmp_path):
    (tmp_path / "adapter.zip").write_bytes(b"none")
    given = {"ADAPTER": str(tmp_path / "adapter.zip"), "OTHER": str(tmp_path / "adapter.zip")}
    arguments = [given.get(one, one) for one in RUNS[name][0]]
    done = run(name, arguments, f"{server.url}/nowhere")
    assert done.returncode == 22
    assert json.loads(done.stdout)["error"]["code"] == "not_found"
    assert "404" in done.stderr


@pytest.mark.parametrize("name", RUNS)
def test_a_script_sends_the_key(name, tmp_path):
    (tmp_path / "adapter.zip").write_bytes(b"none")
    given = {"ADAPTER": str(tmp_path / "adapter.zip"), "OTHER": str(tmp_path / "adapter.zip")}
    arguments = [given.get(one, one) for one in RUNS[name][0]]
    with scripted(says({})) as server:
        keyed = run(name, arguments, server.url, LORALLOY_API_KEY="a key")
        plain = run(name, arguments, server.url)
    assert (keyed.returncode, plain.returncode) == (0, 0), keyed.stderr
    first, second = server.seen
    assert first[2]["Authorization"] == "Bearer a key"
    assert "Authorization" not in second[2]
    ((method, path),) = ROUTES[name]
    assert first[0] == method
    assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), first[1].partition("?")[0])


@pytest.mark.parametrize(
    "name", [name for name, (arguments, _) in RUNS.items() if arguments and name != "completions"]
)
def test_a_script_without_its_argument_says_how_to_use_it(name):
    done = run(name, [], f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 2
    assert f"usage: {name}.sh" in done.stderr


def test_no_server_is_told():
    done = run("health", [], f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 7
    assert "connect" in done.stderr


def test_a_body_may_come_from_a_file(server, tmp_path):
    file = tmp_path / "body.json"
    file.write_text(SAY)
    done = run("completions", [f"@{file}"], server.url)
    assert '"adapters": {"r8-a": 1.0}' in done.stdout


def test_an_archive_is_pushed_too(server, tmp_path):
    (tmp_path / "odd, name;.zip").write_bytes(b"none")
    done = run("adapters-push", ["bad", str(tmp_path / "odd, name;.zip")], server.url)
    assert done.returncode == 22
    assert json.loads(done.stdout)["error"]["code"].startswith("adapter_")
