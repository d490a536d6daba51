"""A server that was stopped by Ctrl-C and started again: its adapters, its keys, its tenants."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from tests.engine.test_token_scope import WARM, weighed_alike
from tests.support import running_server
from tests.support.generation import Ask, Generated, generate
from tests.support.running_server import RunningServer
from tests.support.tiny_llama import BASE_NAME

KEYS = ("first-tenants-secret-key", "second-tenants-secret-key")
BLOCK = 128
PROMPT = tuple(30 + (17 * position) % 900 for position in range(2 * BLOCK + 9))
WEIGHED = {**WARM, "scope": "token", "stride": 1}
ASKED = (Ask(PROMPT, {"model": "r8-a"}), Ask(PROMPT, {"policy": "auto", "routing": WEIGHED}))
ARGUMENTS = ("--dtype", "float32", "--max-loras", "2", "--max-model-len", "512", "--eager")


@pytest.fixture(scope="module")
def before(
    tiny_base: Path,
    tiny_adapters: dict[str, Path],
    encoder_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[Generated]]:
    """A data folder that a server left behind, and what it answered to :data:`ASKED`."""
    folder = tmp_path_factory.mktemp("restarted")
    pushed = {name: tiny_adapters[name] for name in ("r8-a", "r8-b", "r8-d")}
    with (
        TemporaryDirectory() as temporary,
        running_server.running(
            folder,
            tiny_base,
            BASE_NAME,
            pushed,
            descriptions={name: name for name in pushed},
            arguments=ARGUMENTS,
            environment={"TMPDIR": temporary},
        ) as server,
    ):
        answers = [generate(server, [asked])[0] for asked in ASKED]
        running_server.stop(server)
        left = [file.name for file in Path(temporary).rglob("*")]
        assert not [name for name in left if name.startswith(("loralloy-", "pymp-"))]
        assert not [file for file in Path(temporary).rglob("*") if file.is_socket()]
    assert server.process.returncode == 0, server.log.read_text()[-2000:]
    assert "Traceback" not in server.log.read_text()
    return folder, answers


@pytest.fixture(scope="module")
def restarted(before: tuple[Path, list[Generated]], tiny_base: Path) -> Iterator[RunningServer]:
    folder, _ = before
    keys = folder / "keys"
    keys.write_text("\n".join(KEYS) + "\n")
    with running_server.running(
        folder,
        tiny_base,
        BASE_NAME,
        {},
        api_key=KEYS[0],
        arguments=(*ARGUMENTS, "--api-key-file", str(keys)),
    ) as server:
        yield server


def test_uploaded_adapters_are_still_there(
    restarted: RunningServer, before: tuple[Path, list[Generated]]
) -> None:
    with restarted.client() as client:
        listed = {entry["id"] for entry in client.get("/v1/adapters").json()["data"]}
    assert listed == {"r8-a", "r8-b", "r8-d"}
    for asked, said in zip(ASKED, before[1], strict=True):
        again = generate(restarted, [asked])[0]
        assert again.tokens == said.tokens
        assert again.top == said.top
        assert weighed_alike(again, said, tolerance=0)
    assert said.trace is not None


def test_nothing_is_served_without_a_key(restarted: RunningServer) -> None:
    paths = [
        "/v1/models",
        "/v1/adapters",
        "/tokenize",
        "/metrics",
        "/docs",
        "/v1/route",
        "/nowhere",
    ]
    for path in paths:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": KEYS[0]}):
            answer = httpx.get(f"{restarted.url}{path}", headers=headers, timeout=30)
            assert answer.status_code == 401, path
            assert answer.json()["error"]["code"] == "invalid_api_key"
    assert httpx.get(f"{restarted.url}/health", timeout=30).status_code == 200


def test_tenants_never_share_a_prefix(restarted: RunningServer) -> None:
    other = dataclasses.replace(restarted, api_key=KEYS[1])
    text = tuple(reversed(PROMPT))
    for body in ({}, {"model": "r8-a"}, {"mixture": {"adapters": {"r8-a": 0.5, "r8-b": 0.5}}}):
        ask = [Ask(text, body, max_tokens=1)]
        assert generate(restarted, ask)[0].cached == 0
        assert generate(other, ask)[0].cached == 0, "read from another tenant's blocks"
        assert generate(restarted, ask)[0].cached == 2 * BLOCK
        assert generate(other, ask)[0].cached == 2 * BLOCK


def test_more_adapters_than_slots_take_turns(restarted: RunningServer) -> None:
    """Three adapters on two slots, at once: every answer is the one that it gives alone."""
    names = ["r8-a", "r8-b", "r8-d"]
    alone = [generate(restarted, [Ask(PROMPT, {"model": name})])[0].tokens for name in names]
    wanted = [names[number % 3] for number in range(12)]
    together = generate(restarted, [Ask(PROMPT, {"model": name}) for name in wanted])
    for name, got in zip(wanted, together, strict=True):
        assert got.tokens == alone[names.index(name)]
    assert len({tuple(tokens) for tokens in alone}) == 3


def test_a_mixture_beyond_the_slots_is_refused_with_the_reason(restarted: RunningServer) -> None:
    weights = dict.fromkeys(("r8-a", "r8-b", "r8-d"), 0.3)
    with restarted.client() as client:
        answer = client.post(
            "/v1/completions",
            json={"prompt": "hello", "max_tokens": 1, "mixture": {"adapters": weights}},
        )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "mixture_too_large"
    assert "2 slots" in answer.json()["error"]["message"]
