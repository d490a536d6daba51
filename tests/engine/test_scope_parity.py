"""The engine against an independent reference, token for token: greedy, fp32."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from adapters.adapter import RoutingData
from router.centroids.index import CentroidIndex
from router.encoders import make_encoder
from router.encoders.static import StaticEncoder
from router.policies.config import default_policies, parse_overrides
from router.router import Router
from router.window import RoutingInput
from tests.engine.test_token_scope import NEW, TOLERANCE, WARM, ask, prompt
from tests.reference.decoding import Generated as Reference
from tests.reference.decoding import generate as reference
from tests.reference.decoding import weigh_by, weigh_by_rows
from tests.reference.merged import MergedModel
from tests.support.generation import Generated, generate
from tests.support.running_server import RunningServer
from tests.support.tiny_llama import TOPICS


@pytest.fixture(scope="module")
def router(server: RunningServer, encoder_path: Path, tiny_static: Path) -> Router:
    made = Router(
        make_encoder(str(encoder_path)),
        CentroidIndex(),
        default_policies(),
        static=StaticEncoder(str(tiny_static), tokenizer=server.base_folder),
    )
    for name in server.adapters:
        made.add_adapter(name, name, RoutingData(description=TOPICS[name]))
    return made


@pytest.fixture(scope="module")
def merged(server: RunningServer) -> MergedModel:
    return MergedModel(server.base_folder, server.adapters)


@pytest.mark.parametrize("scope", ["token", "recompute"])
@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("seed", [61, 62])
def test_the_engine_is_the_reference(
    server: RunningServer, router: Router, merged: MergedModel, scope: str, stride: int, seed: int
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(server.base_folder)
    spoken = RoutingInput(text=tokenizer.decode(prompt(seed)))
    overrides = parse_overrides({**WARM, "scope": scope, "stride": stride})
    following = router.route(spoken, "auto", overrides).following
    assert following is not None
    weigh = weigh_by(following.reweighing, router.encoder, spoken, tokenizer)
    expected = reference(
        merged,
        tokenizer,
        weigh,
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
    router: Router,
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
    raw = {**WARM, "scope": scope, "stride": stride, **static}
    following = router.route(RoutingInput(text=text), "auto", parse_overrides(raw)).following
    assert following is not None
    expected = reference(
        merged,
        tokenizer,
        weigh_by_rows(following.reweighing, tiny_static, said, pieces),
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
