"""A conversation whose turns have unlike gates: no turn reads what another's gates computed."""

import itertools
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from transformers import DynamicCache

from tests.engine.test_token_scope import TOLERANCE, WARM, same
from tests.reference.merged import MergedModel
from tests.support import running_server
from tests.support.generation import TOP
from tests.support.running_server import RunningServer
from tests.support.talk import Messages, Said, say, tokens_of
from tests.support.tiny_llama import BASE_NAME, TOPICS

BLOCK = 32
NEW = 34
"""Tokens of an answer: more than a block."""

SMALL_BLOCKS = {
    "LORALLOY_ENGINE__BLOCK_SIZE": str(BLOCK),
    "OMP_NUM_THREADS": "1",  # threads that wait for each other's ends help no model this small
}


def follows(scope: str, stride: int, **more: Any) -> dict[str, Any]:
    return {"policy": "auto", "routing": {**WARM, "scope": scope, "stride": stride, **more}}


FIRST = {"mixture": {"adapters": {"r8-a": 0.7, "r16": 0.5}}}
SECOND = {"mixture": {"adapters": {"r8-a": 0.5, "r16": 0.7}}}
EVEN = {"policy": "uniform"}
TURNS: tuple[dict[str, Any], ...] = (
    FIRST,
    follows("token", 1),
    FIRST,
    {},
    follows("recompute", 4),
    SECOND,
    follows("token", 1000),
    {},
    EVEN,
    follows("token", 3, temperature=0.05),
    FIRST,
    follows("recompute", 1000),
    EVEN,
)
"""What each turn asks for, one after the other."""


@pytest.fixture(scope="module")
def small_blocks(
    tiny_base: Path,
    tiny_adapters: dict[str, Path],
    encoder_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    """A server whose blocks are so small that a turn fills several."""
    running = running_server.start(
        tmp_path_factory.mktemp("turns"),
        tiny_base,
        BASE_NAME,
        arguments=("--dtype", "float32", "--max-loras", "10", "--max-model-len", "1024", "--eager"),
        environment=SMALL_BLOCKS,
    )
    try:
        for name, folder in tiny_adapters.items():
            answer = running_server.push(running, name, folder, description=TOPICS[name])
            assert answer.status_code == 201, answer.text
        yield running
    finally:
        running_server.stop(running)


@pytest.fixture(scope="module")
def merged(tiny_base: Path, tiny_adapters: dict[str, Path]) -> MergedModel:
    return MergedModel(tiny_base, {name: tiny_adapters[name] for name in ("r8-a", "r16")})


@dataclass
class Namespaces:
    """What each mixture has computed, and how much of a prompt may therefore be read."""

    computed: dict[str, list[list[int]]] = field(default_factory=lambda: defaultdict(list))

    def readable(self, said: Said, prompt: list[int]) -> int:
        """Tokens of a prompt that lie in whole blocks of one mixture; the last is computed anew."""
        shared = max((common(prompt, known) for known in self.of(said)), default=0)
        return min(shared, len(prompt) - 1) // BLOCK * BLOCK

    def of(self, said: Said) -> list[list[int]]:
        mixture = said.generated.mixture
        assert mixture["scope"] == "prompt"
        return self.computed[json.dumps([mixture["adapters"], mixture["combination"]])]


def common(one: list[int], other: list[int]) -> int:
    """Length of the common beginning."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return sum(1 for _ in pairs)


def question(turn: int) -> dict[str, str]:
    chosen = random.Random(turn)
    words = chosen.choices([word for topic in TOPICS.values() for word in topic.split()], k=4)
    return {"role": "user", "content": " ".join(words)}


def alone(server: RunningServer, messages: Messages, body: dict[str, Any], salt: str) -> Said:
    """The same request where nothing has been computed yet."""
    return say(server, messages, {**body, "cache_salt": salt}, max_tokens=NEW)


@pytest.mark.parametrize(
    ("own", "other"), itertools.permutations([FIRST["mixture"], SECOND["mixture"], {}], 2)
)
def test_one_foreign_block_among_twenty_would_show(
    merged: MergedModel, own: dict[str, Any], other: dict[str, Any]
) -> None:
    """By the reference: the prompt's first block under other gates, all the rest under its own."""
    prompt = random.Random(3).choices(range(30, 930), k=20 * BLOCK)
    cache = DynamicCache()
    merged.become(other.get("adapters", {}))
    merged.next_logprobs(prompt[:BLOCK], cache)
    merged.become(own.get("adapters", {}))
    wrong, right = merged.next_logprobs(prompt[BLOCK:], cache), merged.next_logprobs(prompt)
    top = right.topk(TOP).indices
    assert (right - wrong)[top].abs().max() > 1000 * TOLERANCE


def test_no_turn_reads_what_was_computed_under_other_gates(small_blocks: RunningServer) -> None:
    known = Namespaces()
    messages: list[dict[str, str]] = []
    shared: list[int] = []
    before: list[int] = []
    for number, body in enumerate(TURNS):
        messages.append(question(number))
        prompt = tokens_of(small_blocks, messages)
        assert common(before, prompt) >= len(before) - 1, "a turn begins with the turns before it"
        said = say(small_blocks, messages, body, max_tokens=NEW)
        fresh = alone(small_blocks, messages, body, f"turn-{number}")
        assert fresh.generated.cached == 0
        assert same(said.generated, fresh.generated), f"turn {number}: {body}"
        if said.generated.mixture["scope"] == "prompt":
            expected = known.readable(said, prompt)
            known.of(said).append([*prompt, *said.generated.tokens[:-1]])
        else:
            expected = 0
        assert said.generated.cached == expected, f"turn {number}: {body}"
        shared.append(expected)
        before = prompt
        messages.append({"role": "assistant", "content": said.text})
    assert len(before) > 20 * BLOCK
    assert sum(length >= 4 * BLOCK for length in shared) >= 3, "turns of one mixture share"
