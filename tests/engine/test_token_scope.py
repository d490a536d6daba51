"""Weights that follow the answer, on the real engine."""

import random
from typing import Any

import pytest
from transformers import AutoTokenizer

from tests.support.generation import Ask, Generated, generate
from tests.support.running_server import RunningServer

ALWAYS = 1_000_000
NEW = 12
TOLERANCE = 1e-4
WARM = {"temperature": 0.05, "window": "tail", "threshold": -1}
"""Of policy `auto`: without its threshold, which noise does not reach."""

"""A routing sharp enough for a few random tokens to move the weights, but not to one adapter."""


def prompt(seed: int, length: int = 24) -> tuple[int, ...]:
    chosen = random.Random(seed)
    return tuple(chosen.randrange(30, 930) for _ in range(length))


def ask(
    seed: int,
    scope: str,
    stride: int,
    length: int = 24,
    new: int = NEW,
    routing: dict[str, Any] | None = None,
) -> Ask:
    routing = {**WARM, "scope": scope, "stride": stride, **(routing or {})}
    return Ask(prompt(seed, length), {"policy": "auto", "routing": routing}, max_tokens=new)


def close(one: dict[int, float], other: dict[int, float]) -> bool:
    """Whether two top-20 tables agree where they overlap."""
    shared = one.keys() & other.keys()
    near = all(abs(one[token] - other[token]) <= TOLERANCE for token in shared)
    return near and len(shared) >= len(one) - 2  # ties at the end of the table


def same(one: Generated, other: Generated) -> bool:
    return one.tokens == other.tokens and all(
        close(a, b) for a, b in zip(one.top, other.top, strict=True)
    )


COSINES = 1e-6
"""How far an embedding's cosines may move with the batch that it was made in: what some hundred
rounded products of 2⁻²⁴ add up to."""

WEIGHTS = COSINES / (2 * WARM["temperature"]) + 1e-6
"""How far a weight then moves. Of a softmax dw = w (ds - Σ v dv) / T, which is ds / (2 T) at most;
and weights are rounded to six decimals."""


def weighed_alike(one: Generated, other: Generated, tolerance: float = WEIGHTS) -> bool:
    """Whether two requests have one trace: one policy, the same scores, at the same tokens the
    same adapters, and weights that differ by no more than the tolerance."""
    told, again = (_leaves([each.mixture, each.trace]) for each in (one, other))
    return told.keys() == again.keys() and all(
        value == again[place] or _near(value, again[place], tolerance)
        for place, value in told.items()
    )


def _near(value: Any, other: Any, tolerance: float) -> bool:
    floats = isinstance(value, float) and isinstance(other, float)
    return floats and abs(value - other) <= tolerance


def _leaves(value: Any, place: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Any]:
    """What a report holds, by its place in it."""
    if not isinstance(value, dict | list):
        return {place: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = [_leaves(part, (*place, key)) for key, part in items]
    return {at: leaf for each in found for at, leaf in each.items()}


def weights(server: RunningServer, text: str) -> dict[str, float]:
    """What the router gives a text."""
    with server.client() as client:
        answer = client.post("/v1/route", json={"input": text, "policy": "auto", "routing": WARM})
    assert answer.status_code == 200, answer.text
    return answer.json()["mixture"]["adapters"]


@pytest.mark.parametrize("scope", ["token", "recompute"])
def test_an_endless_stride_is_prompt_scope(server: RunningServer, scope: str) -> None:
    once, followed = generate(server, [ask(1, "prompt", 1), ask(1, scope, ALWAYS)])
    assert same(once, followed)
    assert followed.mixture["scope"] == scope
    assert followed.mixture["adapters"] == once.mixture["adapters"]


@pytest.mark.parametrize("stride", [1, 3])
def test_recompute_is_each_mixture_on_the_whole_prefix(server: RunningServer, stride: int) -> None:
    """Token by token equal to a request of its own: the prefix as prompt, the mixture given."""
    tokenizer = AutoTokenizer.from_pretrained(server.base_folder)
    start = prompt(2)
    followed = generate(server, [ask(2, "recompute", stride)])[0]
    seen: list[dict[str, float]] = []
    for step in range(NEW):
        if step % stride == 0:
            text = tokenizer.decode(start) + tokenizer.decode(followed.tokens[:step])
            seen.append(weights(server, text))
        prefix = (*start, *followed.tokens[:step])
        body = {"mixture": {"adapters": seen[-1]}} if seen[-1] else {}
        alone = generate(server, [Ask(prefix, body, max_tokens=1)])[0]
        assert close(followed.top[step], alone.top[0]), step
        assert alone.tokens == followed.tokens[step : step + 1]
    assert len({tuple(sorted(each.items())) for each in seen}) > 1, "the weights did not move"


@pytest.mark.parametrize("stride", [1, 2, 5])
def test_token_scope_keeps_the_prompts_weights_for_one_stride(
    server: RunningServer, stride: int
) -> None:
    once, followed = generate(server, [ask(3, "prompt", 1), ask(3, "token", stride)])
    moved = [not close(a, b) for a, b in zip(once.top, followed.top, strict=True)]
    assert not any(moved[:stride])
    assert moved[stride], "the weights change at the first multiple of the stride"


def test_scopes_and_strides_share_a_batch_without_touching_each_other(
    server: RunningServer,
) -> None:
    asks = [
        ask(seed, scope, stride)
        for seed, (scope, stride) in enumerate(
            [("token", 1), ("token", 2), ("recompute", 1), ("prompt", 1), ("token", 4)] * 2
        )
    ]
    asks += [ask(20 + n, "token", n, routing={"encoder": "static"}) for n in (1, 2)]
    asks += [Ask(prompt(40), {}), Ask(prompt(41), {"model": "r8-a"})]
    alone = [generate(server, [one])[0] for one in asks]
    together = generate(server, asks)
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))
    assert all(weighed_alike(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("encoder", ["default", "static"])
@pytest.mark.parametrize("scope", ["token", "recompute", "prompt"])
def test_equal_requests_have_equal_traces(server: RunningServer, scope: str, encoder: str) -> None:
    """Scores, tokens and weights to the last digit."""
    first, second, other = (
        generate(server, [ask(seed, scope, 2, routing={"encoder": encoder})])[0]
        for seed in (50, 50, 51)
    )
    assert same(first, second)
    assert weighed_alike(first, second, tolerance=0)
    assert not weighed_alike(first, other), "another prompt has other scores"
    if scope == "prompt":
        assert first.trace is None
        return
    assert first.trace is not None
    steps = first.trace["choices"][0]["steps"]
    assert [step["token"] for step in steps] == list(range(0, NEW, 2))
    assert len({str(step["weights"]) for step in steps}) > 1, "the weights did not move"


def test_token_scope_shares_no_blocks(server: RunningServer) -> None:
    """Its generated blocks depend on the path that the answer took."""
    first = generate(server, [ask(5, "token", 1, length=300, new=4)])[0]
    again = generate(server, [ask(5, "token", 1, length=300, new=4)])[0]
    assert (first.cached, again.cached) == (0, 0)
    assert same(first, again)
    assert weighed_alike(first, again, tolerance=0)
