"""A conversation whose turns have unlike gates: no turn reads what another's gates computed."""

import itertools
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, DynamicCache

from tests.engine.test_token_scope import TOLERANCE, same, weighed_alike
from tests.reference.merged import MergedModel
from tests.support import running_server
from tests.support.generation import TOP, Ask, Generated, generate
from tests.support.running_server import RunningServer
from tests.support.talk import say, tokens_of
from tests.support.tiny_llama import BASE_NAME, TOPICS

BLOCK = 32
NEW = 34
"""Tokens of an answer: more than a block."""

SMALL_BLOCKS = {
    "LORALLOY_ENGINE__BLOCK_SIZE": str(BLOCK),
    "OMP_NUM_THREADS": "1",  # threads that wait for each other's ends help no model this small
}


WORDS = ("window", "seven", "blue", "then", "line", "after", "what", "next")


TAIL = {"part": "tail", "pieces": 4}
"""The last question, and soon the answer in its place."""


def follows(scope: str, stride: int) -> dict[str, Any]:
    """Begins with the very mixture of :data:`NEAREST`, which then moves."""
    routing = {"top_k": 1, "window": TAIL, "scope": scope, "stride": stride}
    return {"policy": "auto", "routing": routing}


NEAREST = {"policy": "nearest", "routing": {"window": TAIL}}
FIRST = {"mixture": {"adapters": {"r8-a": 0.7, "r16": 0.5}}}
SECOND = {"mixture": {"adapters": {"r8-a": 0.5, "r16": 0.7}}}
TURNS: tuple[dict[str, Any], ...] = (
    NEAREST,
    follows("token", 1),
    NEAREST,
    {},
    follows("recompute", 4),
    NEAREST,
    FIRST,
    follows("token", 3),
    SECOND,
    {},
    follows("token", 1000),
    FIRST,
    follows("recompute", 1000),
    NEAREST,
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
    with running_server.running(
        tmp_path_factory.mktemp("turns"),
        tiny_base,
        BASE_NAME,
        tiny_adapters,
        descriptions=TOPICS,
        arguments=("--dtype", "float32", "--max-loras", "10", "--max-model-len", "1024", "--eager"),
        environment=SMALL_BLOCKS,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def merged(tiny_base: Path, tiny_adapters: dict[str, Path]) -> MergedModel:
    return MergedModel(tiny_base, {name: tiny_adapters[name] for name in ("r8-a", "r16")})


@dataclass
class Namespaces:
    """What each mixture has computed, and how much of a prompt may therefore be read."""

    computed: dict[str, list[list[int]]] = field(default_factory=lambda: defaultdict(list))

    def readable(self, said: Generated, prompt: list[int]) -> int:
        """Tokens of a prompt that lie in whole blocks of one mixture; the last is computed anew."""
        shared = max((common(prompt, known) for known in self.of(said)), default=0)
        return min(shared, len(prompt) - 1) // BLOCK * BLOCK

    def of(self, said: Generated) -> list[list[int]]:
        mixture = said.mixture
        assert mixture["scope"] == "prompt"
        return self.computed[json.dumps([mixture["adapters"], mixture["combination"]])]


def common(one: list[int], other: list[int]) -> int:
    """Length of the common beginning."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return sum(1 for _ in pairs)


def question(turn: int) -> str:
    """Nearest to one adapter whatever the turn, but not by far."""
    return f"sports {' '.join(random.Random(turn).choices(WORDS, k=3))}"


class Chat:
    """A conversation as messages: answers come back as text, which has tokens of its own."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._messages: list[dict[str, str]] = []
        self._text = ""

    def ask(self, question: str) -> list[int]:
        """The next question; the prompt that it makes."""
        if self._messages:
            self._messages.append({"role": "assistant", "content": self._text})
        self._messages.append({"role": "user", "content": question})
        return tokens_of(self._server, self._messages)

    def say(self, body: dict[str, Any]) -> Generated:
        said = say(self._server, self._messages, body, max_tokens=NEW)
        self._text = said.text
        return replace(said.generated, steps=tuple(said.steps))


class Tokens:
    """A conversation as tokens: a prompt holds the answers' very tokens."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._tokenizer = AutoTokenizer.from_pretrained(server.base_folder)
        self._prompt: list[int] = []
        self._answer: list[int] = []

    def ask(self, question: str) -> list[int]:
        """The next question; the prompt that it makes."""
        self._prompt += [*self._answer, *self._tokenizer.encode("\n" + question)]
        return list(self._prompt)

    def say(self, body: dict[str, Any]) -> Generated:
        said = generate(self._server, [Ask(tuple(self._prompt), body, NEW)])[0]
        self._answer = said.tokens
        return said


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


@pytest.mark.parametrize("kind", [Chat, Tokens])
def test_no_turn_reads_what_was_computed_under_other_gates(
    small_blocks: RunningServer, kind: type[Chat] | type[Tokens]
) -> None:
    talk, known = kind(small_blocks), Namespaces()
    before: list[int] = []
    shared: list[int] = []
    begun: set[str] = set()
    moved = 0
    for number, body in enumerate(TURNS):
        prompt = talk.ask(question(number))
        assert common(before, prompt) >= len(before) - 1, "a turn begins with the turns before it"
        fresh = talk.say({**body, "cache_salt": f"{kind.__name__}-{number}"})
        said = talk.say(body)
        assert fresh.cached == 0
        assert same(said, fresh), f"turn {number}: {body}"
        assert weighed_alike(said, fresh), f"turn {number}: {body}"
        expected = 0
        if said.mixture["scope"] == "prompt":
            expected = known.readable(said, prompt)
            known.of(said).append([*prompt, *said.tokens[:-1]])
        assert said.cached == expected, f"turn {number}: {body}"
        shared.append(expected)
        if "policy" in body:
            begun.add(json.dumps(said.mixture["adapters"]))
        moved += len({json.dumps(step) for step in said.steps}) > 1
        before = prompt
    assert len(begun) == 1, "a salt of the mixture alone would make these turns share"
    assert moved >= 2, "and read what was computed under other weights"
    assert len(before) > 16 * BLOCK
    assert sum(length >= 4 * BLOCK for length in shared) >= 3, "turns of one mixture share"
