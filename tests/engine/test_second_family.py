"""A second family in a second number format: a tiny Qwen2, with its biases, in bfloat16.

The truth is PEFT under transformers in float32. How far bfloat16 may be from it is not chosen but
measured: transformers computes the same in bfloat16, rounding where the engine rounds.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.reference.peft_mixture import Reference
from tests.support import running_server
from tests.support.generation import Ask, Generated, generate
from tests.support.running_server import RunningServer
from tests.support.tiny_qwen2 import BASE_NAME, make_adapters, make_base

MOST, MOST_OF_ALL = 3.0, 2.0
"""Root mean squares of two samples of one error, 24 independent rows each, differ by less than the
first but once in a million times (F-distribution); those of all cases, 120 rows, by the second."""

NEW = 24
PROMPT = tuple(range(40, 73))
LONG = tuple(30 + (7 * position) % 900 for position in range(300))
"""Enough tokens for prefill's own way through the bank."""

Case = tuple[tuple[int, ...], Mapping[str, float], str]
CASES: dict[str, Case] = {
    "base": (PROMPT, {}, "cat"),
    "one": (PROMPT, {"r16": 1.0}, "cat"),
    "unlike ranks": (PROMPT, {"r8": 0.5, "r16": 0.3, "attention-only": 0.2}, "cat"),
    "linear": (PROMPT, {"r8": 0.6, "r8-light": 0.4}, "linear"),
    "long": (LONG, {"r8": 0.45, "r16": 0.55}, "cat"),
}


@pytest.fixture(scope="module")
def qwen2(encoder_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    base = make_base(tmp_path_factory.mktemp("qwen2") / BASE_NAME)
    adapters = make_adapters(base, tmp_path_factory.mktemp("qwen2-adapters"))
    with running_server.running(
        tmp_path_factory.mktemp("qwen2-server"),
        base,
        BASE_NAME,
        adapters,
        arguments=("--dtype", "bfloat16", "--max-loras", "4", "--max-model-len", "512", "--eager"),
    ) as running:
        yield running


@pytest.fixture(scope="module")
def exact(qwen2: RunningServer) -> Reference:
    return Reference(qwen2.base_folder, qwen2.adapters)


@pytest.fixture(scope="module")
def answers(qwen2: RunningServer) -> dict[str, Generated]:
    """What the engine says in each case, all of them in one batch."""
    asks = []
    for prompt, weights, rule in CASES.values():
        mixture = {"adapters": dict(weights), "combination": rule}
        asks.append(Ask(prompt, {"mixture": mixture} if weights else {}, NEW))
    return dict(zip(CASES, generate(qwen2, asks), strict=True))


@pytest.fixture(scope="module")
def errors(
    qwen2: RunningServer, exact: Reference, answers: dict[str, Generated]
) -> dict[str, tuple[float, float]]:
    """How far the engine is from float32 in each case, and how far transformers in bfloat16."""
    rounded = Reference(qwen2.base_folder, qwen2.adapters, torch.bfloat16)
    found = {}
    for case, said in answers.items():
        truth = told(exact, case, said)
        got = torch.tensor([list(top.values()) for top in said.top], dtype=torch.float64)
        found[case] = apart(got, truth), apart(told(rounded, case, said), truth)
    return found


def told(
    reference: Reference, case: str, said: Generated, weights: Mapping[str, float] | None = None
) -> torch.Tensor:
    """A reference's log-probabilities of what the engine said: [tokens, 20]."""
    prompt, given, rule = CASES[case]
    rows = reference.logprobs([*prompt, *said.tokens], given if weights is None else weights, rule)
    return torch.stack(
        [rows[len(prompt) + step - 1, list(top)] for step, top in enumerate(said.top)]
    )


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The root mean square of what two tables differ by."""
    return float((one - other).square().mean().sqrt())


def test_the_engine_is_as_near_to_float32_as_transformers_in_bfloat16(
    errors: dict[str, tuple[float, float]],
) -> None:
    for case, (ours, theirs) in errors.items():
        assert 0 < ours <= MOST * theirs, (case, errors)
    squares = [(ours**2, theirs**2) for ours, theirs in errors.values()]
    ours, theirs = map(sum, zip(*squares, strict=True))
    assert ours <= MOST_OF_ALL**2 * theirs, errors


def test_what_was_left_out_or_weighed_otherwise_would_show(
    exact: Reference,
    answers: dict[str, Generated],
    errors: dict[str, tuple[float, float]],
    qwen2: RunningServer,
    tmp_path: Path,
) -> None:
    unbiased = Reference(without_biases(qwen2.base_folder, tmp_path / "base"), qwen2.adapters)
    for case, said in answers.items():
        truth, bound = told(exact, case, said), MOST * errors[case][1]
        assert apart(told(unbiased, case, said), truth) > 3 * bound, case
        _, weights, _ = CASES[case]
        for name, weight in weights.items():
            others = {**weights, name: weight - 0.2}
            assert apart(told(exact, case, said, others), truth) > bound, (case, name)


def without_biases(base: Path, folder: Path) -> Path:
    """A copy of a base model whose biases are zero."""
    shutil.copytree(base, folder)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    biases = [name for name in tensors if name.endswith(".bias")]
    assert len(biases) == 3 * 3, "of queries, keys and values in each layer"
    save_file(
        {**tensors, **{name: torch.zeros_like(tensors[name]) for name in biases}},
        file,
        metadata={"format": "pt"},
    )
    return folder
