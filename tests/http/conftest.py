"""A client of the run's server, and a server with API keys of every kind."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from tests.support import running_server
from tests.support.access import keys_command
from tests.support.running_server import RunningServer
from tests.support.tiny_llama import BASE_NAME, TOPICS

KEYS = {
    "admin": ("--role", "admin", "--note", "the tests' admin"),
    "narrow": ("--adapter", "r8-*"),
    "one": ("--adapter", "r8-a"),
    "wide": (),
    "metrics": ("--role", "metrics"),
    "hurried": ("--requests-per-minute", "3"),
    "single": ("--max-concurrent", "1"),
}
PUSHED = ("r8-a", "r8-b", "r16", "r32")

POLICIES = """
policies:
  auto: {kind: softmax, temperature: 0.05, top_k: 4}
  tle: {kind: tle}
  nearest: {kind: nearest}
  uniform: {kind: uniform}
  merged: {kind: fixed, weights: {r8-a: 0.5, r16: 0.5}}
  ours: {kind: fixed, weights: {r8-a: 0.5, r8-b: 0.5}}
  falls: {kind: softmax, threshold: 0.99, fallback: r16}
  lists: {kind: uniform, candidates: {include: [r8-b, r16], exclude: [r32]}}
"""


@dataclass(frozen=True)
class Keyed:
    """A server, a client for each key, and the folder for more keys."""

    server: RunningServer
    data_dir: Path
    clients: Mapping[str, httpx.Client]

    def keys(self, *arguments: str) -> str:
        """Run ``loralloy keys`` beside the server."""
        return keys_command(self.data_dir, *arguments)

    def with_key(self, key: str) -> RunningServer:
        """The server for the holder of a key."""
        return replace(self.server, api_key=key)

    def __getitem__(self, name: str) -> httpx.Client:
        return self.clients[name]


@pytest.fixture(scope="module")
def http(server: RunningServer) -> Iterator[httpx.Client]:
    """A client of the run's server, which has to be well after the module's tests."""
    with server.client() as client:
        yield client
    assert server.alive()


@pytest.fixture(scope="session")
def no_whitespace(server) -> dict[str, float]:
    """A bias against whitespace, which JSON allows anywhere and a random model loves."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(server.base_folder)
    pieces = {i: tokenizer.decode([i]) for i in range(len(tokenizer))}
    return {str(i): -100.0 for i, piece in pieces.items() if any(c.isspace() for c in piece)}


@pytest.fixture(scope="session")
def keyed(
    tiny_base: Path,
    tiny_adapters: dict[str, Path],
    tiny_static: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Keyed]:
    """A server whose every key was made before it ran, with four adapters."""
    folder = tmp_path_factory.mktemp("keyed")
    data_dir = folder / "data"
    keys = {name: keys_command(data_dir, "create", *told) for name, told in KEYS.items()}
    policies = folder / "policies.yaml"
    policies.write_text(POLICIES)
    with running_server.running(
        folder,
        tiny_base,
        BASE_NAME,
        {name: tiny_adapters[name] for name in PUSHED},
        descriptions=TOPICS,
        api_key=keys["admin"],
        arguments=(
            *("--dtype", "float32", "--max-loras", "6", "--max-model-len", "512", "--eager"),
            *("--static-encoder", str(tiny_static), "--policies", str(policies)),
        ),
    ) as admin:
        with ExitStack() as stack:
            clients = {
                name: stack.enter_context(replace(admin, api_key=key).client())
                for name, key in keys.items()
            }
            yield Keyed(admin, data_dir, clients)
        logged = admin.log.read_text()
        assert not [name for name, key in keys.items() if key in logged], "a key is in the log"
