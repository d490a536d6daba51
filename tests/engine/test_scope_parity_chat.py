"""Chats whose weights follow the answer, whole and as a stream, against the reference decoding."""

from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from benchmarks.tle.by_hand import Centroids, MiniLM
from tests.engine.test_scope_parity import centroids, encoder, merged
from tests.engine.test_token_scope import NEW, TOLERANCE, WARM
from tests.reference.decoding import Generated as Expected
from tests.reference.decoding import generate as reference
from tests.reference.merged import MergedModel
from tests.reference.weighing import Rule, Talk, weigh_by
from tests.support.running_server import RunningServer
from tests.support.talk import Said, say, tokens_of

__all__ = ["centroids", "encoder", "merged"]  # fixtures

CHAT = [
    {"role": "system", "content": "say it in one line"},
    {"role": "user", "content": "what comes after the window"},
    {"role": "assistant", "content": "blue and seven"},
    {"role": "user", "content": "and then"},
]


def expected(
    server: RunningServer,
    encoder: MiniLM,
    centroids: Centroids,
    merged: MergedModel,
    routing: dict[str, Any],
) -> Expected:
    said = Talk(tuple((one["role"], one["content"]) for one in CHAT))
    rule = Rule(temperature=routing["temperature"], part=routing["window"])
    tokenizer = AutoTokenizer.from_pretrained(server.base_folder)
    return reference(
        merged,
        tokenizer,
        weigh_by(rule, encoder, centroids, said, tokenizer),
        tokens_of(server, CHAT),
        max_new_tokens=NEW,
        stride=routing["stride"],
        scope=routing["scope"],
        ignore_eos=True,
    )


def check(said: Said, wanted: Expected) -> None:
    assert said.generated.tokens == wanted.tokens
    for step, top in enumerate(said.generated.top):
        ids = list(top)
        told = torch.tensor([top[token] for token in ids], dtype=torch.float64)
        assert (wanted.logprobs[step, ids] - told).abs().max() <= TOLERANCE, step
    assert len(said.steps) == len(wanted.weights)
    for told_weights, weights in zip(said.steps, wanted.weights, strict=True):
        assert told_weights == pytest.approx(dict(weights), abs=2e-4)


@pytest.mark.parametrize("scope", ["token", "recompute"])
@pytest.mark.parametrize(("stride", "window"), [(1, "tail"), (3, "last_message"), (4, "whole")])
def test_a_chat_is_the_reference_whole_and_as_a_stream(
    server: RunningServer,
    encoder: MiniLM,
    centroids: Centroids,
    merged: MergedModel,
    scope: str,
    stride: int,
    window: str,
) -> None:
    routing = {**WARM, "window": window, "scope": scope, "stride": stride}
    wanted = expected(server, encoder, centroids, merged, routing)
    assert len({tuple(sorted(each.items())) for each in wanted.weights}) > 1
    body = {"policy": "auto", "routing": routing}
    check(say(server, CHAT, body, max_tokens=NEW), wanted)
    streamed = say(server, CHAT, body, max_tokens=NEW, stream=True)
    check(streamed, wanted)
    assert streamed.generated.cached == 0
