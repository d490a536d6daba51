"""The engine against PEFT under transformers, in fp32: top-20 log-probabilities within 1e-4."""

from collections.abc import Mapping

import pytest

from tests.reference.peft_mixture import Reference
from tests.support.generation import Ask, Generated, generate
from tests.support.running_server import RunningServer

TOLERANCE = 1e-4
PROMPT = tuple(range(40, 73))


@pytest.fixture(scope="module")
def reference(server: RunningServer) -> Reference:
    return Reference(server.base_folder, server.adapters)


def ask(weights: Mapping[str, float], combination: str = "cat", shift: int = 0) -> Ask:
    prompt = tuple(token + shift for token in PROMPT)
    if not weights:
        return Ask(prompt, {})
    return Ask(prompt, {"mixture": {"adapters": dict(weights), "combination": combination}})


def assert_equal(
    reference: Reference,
    got: Generated,
    asked: Ask,
    weights: Mapping[str, float],
    combination: str = "cat",
) -> None:
    text = [*asked.prompt, *got.tokens]
    expected = reference.logprobs(text, weights, combination)
    worst = 0.0
    for step, top in enumerate(got.top):
        row = expected[len(asked.prompt) + step - 1]
        assert len(top) >= 20
        worst = max(worst, max(abs(row[token].item() - p) for token, p in top.items()))
        best = set(row.topk(5).indices.tolist())
        assert best <= set(top), "the reference's likeliest tokens are not among the engine's"
    assert worst <= TOLERANCE, f"log-probabilities differ by {worst:.2e}"


def test_base_model(server: RunningServer, reference: Reference) -> None:
    asked = ask({})
    assert_equal(reference, generate(server, [asked])[0], asked, {})


@pytest.mark.parametrize(
    "name", ["r8-a", "r8-b", "r8-c", "r16", "r32", "attention-only", "patterned"]
)
def test_single_adapter(server: RunningServer, reference: Reference, name: str) -> None:
    asked = Ask(PROMPT, {"model": name})
    got = generate(server, [asked])[0]
    assert_equal(reference, got, asked, {name: 1.0})
    base = reference.logprobs([*PROMPT, *got.tokens], {})
    apart = max(abs(base[len(PROMPT) - 1][t].item() - p) for t, p in got.top[0].items())
    assert apart > 100 * TOLERANCE, "the adapter changes nothing: the test would prove nothing"


MIXTURES: list[dict[str, float]] = [
    {"r8-a": 0.4, "r8-b": 0.3, "r8-c": 0.2, "r8-d": 0.1},
    {"r8-a": 0.1, "r8-b": 0.2, "r8-c": 0.3, "r8-d": 0.4},
    {"r8-a": 0.7, "r8-d": 0.3},
    {"r8-c": 0.75, "r8-b": 0.25},
    {},
]


def test_four_mixtures_and_the_base_in_one_batch(
    server: RunningServer, reference: Reference
) -> None:
    asks = [ask(weights, shift=number) for number, weights in enumerate(MIXTURES)]
    for asked, got, weights in zip(asks, generate(server, asks), MIXTURES, strict=True):
        assert_equal(reference, got, asked, weights)


def test_unlike_ranks_in_one_mixture(server: RunningServer, reference: Reference) -> None:
    weights = {"r8-a": 0.5, "r16": 0.3, "r32": 0.2}
    asked = ask(weights)
    assert_equal(reference, generate(server, [asked])[0], asked, weights)


@pytest.mark.parametrize("combination", ["cat", "linear", "linear_peft04"])
def test_each_combination(server: RunningServer, reference: Reference, combination: str) -> None:
    weights = {"r8-a": 0.45, "r8-b": 0.35, "r8-d": 0.2}
    asked = ask(weights, combination)
    assert_equal(reference, generate(server, [asked])[0], asked, weights, combination)


def test_unlike_combinations_and_ranks_in_one_batch(
    server: RunningServer, reference: Reference
) -> None:
    wanted = [
        ({"r8-a": 0.6, "r8-b": 0.4}, "linear"),
        ({"r8-c": 0.6, "r8-d": 0.4}, "linear_peft04"),
        ({"r32": 0.6, "attention-only": 0.4}, "cat"),
        ({"r8-a": 0.5, "r8-d": 0.5}, "cat"),
        ({}, "cat"),
    ]
    asks = [ask(weights, rule, shift) for shift, (weights, rule) in enumerate(wanted)]
    for asked, got, (weights, rule) in zip(asks, generate(server, asks), wanted, strict=True):
        assert_equal(reference, got, asked, weights, rule)


def test_weights_need_not_sum_to_one(server: RunningServer, reference: Reference) -> None:
    weights = {"r8-a": 0.3, "r8-b": 0.3, "r8-c": 0.3, "r8-d": 0.3}
    asked = ask(weights)
    assert_equal(reference, generate(server, [asked])[0], asked, weights)


def test_a_long_prompt_takes_the_matrix_product_path(
    server: RunningServer, reference: Reference
) -> None:
    weights = {"r8-a": 0.5, "r16": 0.5}
    prompt = tuple(30 + (7 * position) % 900 for position in range(300))
    body = {"mixture": {"adapters": weights}}
    asked = Ask(prompt, body, max_tokens=4)
    assert_equal(reference, generate(server, [asked])[0], asked, weights)
