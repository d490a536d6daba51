"""The engine against an independent reference, token for token: greedy, fp32."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from benchmarks.tle.by_hand import Centroids, MiniLM
from tests.engine.test_token_scope import NEW, TOLERANCE, WARM, ask, prompt
from tests.reference.decoding import Generated as Reference
from tests.reference.decoding import generate as reference
from tests.reference.merged import MergedModel
from tests.reference.weighing import Rule, Talk, weigh_by, weigh_by_rows
from tests.support.generation import Generated, generate
from tests.support.running_server import RunningServer
from tests.support.tiny_llama import TOPICS

assert WARM == {"temperature": 0.05, "window": "tail", "threshold": -1}
RULE = Rule(temperature=0.05, part="tail", top_k=4, min_weight=0.02)
"""Policy ``auto`` as these tests ask for it, written out."""


@pytest.fixture(scope="module")
def encoder(encoder_path: Path) -> MiniLM:
    return MiniLM(encoder_path)


@pytest.fixture(scope="module")
def centroids(server: RunningServer, encoder: MiniLM) -> Centroids:
    return {name: encoder.embed(TOPICS[name])[None] for name in sorted(server.adapters)}


@pytest.fixture(scope="module")
def merged(server: RunningServer) -> MergedModel:
    return MergedModel(server.base_folder, server.adapters)


@pytest.mark.parametrize("scope", ["token", "recompute"])
@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("seed", [61, 62])
def test_the_engine_is_the_reference(
    server: RunningServer,
    encoder: MiniLM,
    centroids: Centroids,
    merged: MergedModel,
    scope: str,
    stride: int,
    seed: int,
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(server.base_folder)
    said = Talk(text=tokenizer.decode(prompt(seed)))
    expected = reference(
        merged,
        tokenizer,
        weigh_by(RULE, encoder, centroids, said, tokenizer),
        prompt(seed),
        max_new_tokens=NEW,
        stride=stride,
        scope=scope,
        ignore_eos=True,
    )
    compare(generate(server, [ask(seed, scope, stride)])[0], expected)


@pytest.mark.parametrize("scope", ["token", "recompute"])
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("pieces", [10, 1000])
def test_the_engine_is_the_reference_by_the_static_encoder(
    server: RunningServer,
    centroids: Centroids,
    merged: MergedModel,
    tiny_static: Path,
    scope: str,
    stride: int,
    pieces: int,
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(server.base_folder)
    text = tokenizer.decode(prompt(63))
    said = tokenizer(text, add_special_tokens=False).input_ids
    static = {"encoder": "static", "window": {"part": "tail", "pieces": pieces}}
    expected = reference(
        merged,
        tokenizer,
        weigh_by_rows(RULE, centroids, tiny_static, said, pieces),
        prompt(63),
        max_new_tokens=NEW,
        stride=stride,
        scope=scope,
        ignore_eos=True,
    )
    compare(generate(server, [ask(63, scope, stride, routing=static)])[0], expected)


def compare(got: Generated, expected: Reference) -> None:
    """The same tokens, and top log-probabilities within the tolerance; the weights moved."""
    assert got.tokens == expected.tokens
    for step, top in enumerate(got.top):
        ids = list(top)
        told = torch.tensor([top[token] for token in ids], dtype=torch.float64)
        assert (expected.logprobs[step, ids] - told).abs().max() <= TOLERANCE, step
    assert len({tuple(sorted(each.items())) for each in expected.weights}) > 1
