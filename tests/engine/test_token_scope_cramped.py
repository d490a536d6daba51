"""Weights that follow the answer, through chunked prefill, preemption and recomputation."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.engine.test_token_scope import ask, close, same, weighed_alike
from tests.support import running_server
from tests.support.generation import Ask, Generated, generate
from tests.support.running_server import RunningServer
from tests.support.tiny_llama import BASE_NAME, TOPICS

CRAMPED = {
    "LORALLOY_ENGINE__BLOCK_SIZE": "32",
    "LORALLOY_ENGINE__NUM_GPU_BLOCKS": "14",
    "LORALLOY_ENGINE__MAX_NUM_BATCHED_TOKENS": "64",
    "LORALLOY_ENGINE__MAX_NUM_SEQS": "12",
}
"""Keys and values for thirteen blocks of 32 tokens, and steps of at most 64."""

SCOPES = [("token", 1), ("token", 2), ("recompute", 1), ("prompt", 1), ("token", 5)]
STATIC = {"encoder": "static", "window": {"part": "tail", "pieces": 24}}


@pytest.fixture(scope="module")
def cramped(
    server: RunningServer, tiny_static: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """The same model and adapters with hardly any room for keys and values."""
    with running_server.running(
        tmp_path_factory.mktemp("cramped"),
        server.base_folder,
        BASE_NAME,
        server.adapters,
        descriptions=TOPICS,
        arguments=(
            *("--dtype", "float32", "--max-loras", "10", "--max-model-len", "256", "--eager"),
            *("--static-encoder", str(tiny_static)),
        ),
        environment=CRAMPED,
    ) as running:
        yield running


def asks() -> list[Ask]:
    """Twenty requests of all scopes, with prompts of 40 to 116 tokens.

    The answers are long enough to run out of room, but for those that compute all anew each time.
    Half of the requests are followed by the static encoder, through a window that slides.
    """
    return [
        ask(
            seed,
            scope,
            stride,
            length=40 + 4 * seed,
            new=6 if scope == "recompute" else 16 + seed,
            routing=STATIC if seed % 2 else {},
        )
        for seed, (scope, stride) in enumerate(SCOPES * 4)
    ]


def preemptions(server: RunningServer) -> float:
    text = httpx.get(f"{server.url}/metrics", timeout=30).text
    found = re.search(r"^vllm:num_preemptions_total\{.*\} (\S+)$", text, re.MULTILINE)
    assert found, "vLLM counts preemptions"
    return float(found[1])


def test_twenty_requests_are_the_same_alone_together_shuffled_and_preempted(
    server: RunningServer, cramped: RunningServer
) -> None:
    wanted = asks()
    alone = [generate(server, [one])[0] for one in wanted]
    together = generate(server, wanted)
    order = random.Random(7).sample(range(20), 20)
    shuffled = generate(server, [wanted[place] for place in order])
    # Without the requests that preempt themselves: what is left was preempted for want of room.
    prompt_and_token = [place for place in range(20) if SCOPES[place % 5][0] != "recompute"]
    before = preemptions(cramped)
    squeezed = generate(cramped, [wanted[place] for place in prompt_and_token])
    assert preemptions(cramped) > before
    everything = generate(cramped, wanted)
    for place in range(20):
        for how, other in (
            ("together", together[place]),
            ("shuffled", shuffled[order.index(place)]),
            ("with recompute", everything[place]),
        ):
            assert same(alone[place], other), differing(place, how, alone[place], other)
            assert weighed_alike(alone[place], other), (place, how, alone[place], other)
    for at, place in enumerate(prompt_and_token):
        assert same(alone[place], squeezed[at]), differing(
            place, "preempted", alone[place], squeezed[at]
        )
        assert weighed_alike(alone[place], squeezed[at]), (place, alone[place], squeezed[at])


def differing(place: int, how: str, one: Generated, other: Generated) -> str:
    """Where two answers part, for a failure's message."""
    tables = zip(one.top, other.top, strict=True)
    step = next(step for step, (a, b) in enumerate(tables) if not close(a, b))
    shared = one.top[step].keys() & other.top[step].keys()
    furthest = max(abs(one.top[step][token] - other.top[step][token]) for token in shared)
    return (
        f"request {place} ({SCOPES[place % 5]}) {how}: at step {step} of {len(one.tokens)} "
        f"{len(shared)} of the top 20 are shared and differ by up to {furthest:.2g}"
    )
