"""The timed loop decodes what LoRA-TLE defines; ratios are of speeds."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.tle.loop import ReferenceLoop, measure
from benchmarks.tle.result import Result, parts_table, ratio, ratio_table
from router.encoders import make_encoder
from router.index import CentroidIndex
from router.policies.tle import tle_weights
from tests.reference.decoding import generate, text_of
from tests.reference.merged import MergedModel
from tests.support.tiny_llama import TOPICS

NAMES = ("r8-a", "r8-b", "r8-c", "r8-d")
PROMPT = "Write a function that adds two numbers"


@pytest.fixture(scope="module")
def parts(tiny_base, tiny_adapters, encoder_path):
    """The loop, and all that it is made of."""
    encoder = make_encoder(str(encoder_path))
    index = CentroidIndex()
    vectors = encoder.encode([TOPICS[name] for name in NAMES])
    index.put_all(zip(NAMES, NAMES, vectors, strict=True))
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    adapters = {name: tiny_adapters[name] for name in NAMES}
    loop = ReferenceLoop(model, tokenizer, adapters, encoder, index)
    return loop, tokenizer, adapters, encoder, index


def test_the_loop_picks_the_tokens_of_the_definition(tiny_base, parts):
    loop, tokenizer, adapters, encoder, index = parts
    answer = loop.answer(PROMPT, 6)

    def weigh(answer):
        text = PROMPT + text_of(answer, tokenizer)
        scores = index.snapshot.scores(encoder.encode([text])[0])
        return dict(zip(scores.names, tle_weights(scores.cosines).tolist(), strict=True))

    wanted = generate(
        MergedModel(tiny_base, adapters, "linear"),
        tokenizer,
        weigh,
        tokenizer(PROMPT)["input_ids"],
        max_new_tokens=6,
        ignore_eos=True,
    )
    assert answer.tokens == wanted.tokens
    assert answer.weights[-1].tolist() == pytest.approx(list(wanted.weights[-1].values()))
    assert answer.weights[0].tolist() != answer.weights[-1].tolist()


def test_a_measurement_says_where_the_time_went(parts):
    told = []
    result = measure(parts[0], PROMPT, 3, lambda: told.append(1))
    assert (result.requests, result.tokens, len(told)) == (1, 3, 3)
    assert sum(result.parts.values()) == pytest.approx(result.seconds)
    assert all(seconds > 0 for seconds in result.parts.values())
    assert parts_table(result).count("\n") == 4


def test_ratios_are_of_tokens_a_second():
    reference = Result("reference", 1, 10, 10.0)
    ours = Result("ours", 8, 1024, 8.0)
    assert ratio(ours, reference) == 128
    assert ratio_table(reference, [ours]).splitlines()[2:] == [
        "| reference | 1 | 1.00 | 1.0 |  |",
        "| ours | 8 | 128.00 | 128.0 | ≥ 120 |",
    ]
