"""The timed loop decodes what LoRA-TLE defines; turns, ratios and tables."""

import itertools
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.stamps import rate_since, rate_together
from benchmarks.tle.by_hand import MiniLM
from benchmarks.tle.loop import ReferenceLoop, Seconds
from benchmarks.tle.prompts import MOST, prompts
from benchmarks.tle.result import Speeds, aims_table, parts_table, reached, table
from benchmarks.tle.rounds import Plan
from benchmarks.tle.setup import BenchmarkError, check
from benchmarks.tle.variants import (
    AIMS,
    PROMPT,
    RECOMPUTE_8,
    REFERENCE,
    STATIC,
    TOKEN,
    TOKEN_8,
    VARIANTS,
    variants,
)
from router.centroids.index import CentroidIndex
from router.encoders import make_encoder
from router.policies.config import parse_policy
from router.policies.tle import tle_weights
from tests.reference.decoding import generate
from tests.reference.merged import MergedModel
from tests.reference.weighing import text_of
from tests.support.tiny_llama import TOPICS

NAMES = ("r8-a", "r8-b", "r8-c", "r8-d")
QUESTION = "Write a function that adds two numbers"


@pytest.fixture(scope="module")
def parts(tiny_base, tiny_adapters, encoder_path):
    """The loop, and the router's parts in place of its own."""
    encoder, by_hand = make_encoder(str(encoder_path)), MiniLM(encoder_path)
    index = CentroidIndex()
    vectors = encoder.encode([TOPICS[name] for name in NAMES])
    index.put_all(zip(NAMES, NAMES, vectors, strict=True))
    centroids = {name: by_hand.embed(TOPICS[name])[None] for name in NAMES}
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    adapters = {name: tiny_adapters[name] for name in NAMES}
    loop = ReferenceLoop(model, tokenizer, adapters, by_hand, centroids)
    return loop, tokenizer, adapters, encoder, index


def test_the_loop_picks_the_tokens_of_the_definition(tiny_base, parts):
    loop, tokenizer, adapters, encoder, index = parts
    answer = loop.answer(QUESTION, 6)

    def weigh(answer):
        text = QUESTION + text_of(answer, tokenizer)
        scores = index.snapshot.scores(encoder.encode([text])[0])
        return dict(zip(scores.names, tle_weights(scores.cosines).tolist(), strict=True))

    wanted = generate(
        MergedModel(tiny_base, adapters, "linear"),
        tokenizer,
        weigh,
        tokenizer(QUESTION)["input_ids"],
        max_new_tokens=6,
        ignore_eos=True,
    )
    assert answer.tokens == wanted.tokens
    for got, wanted_weights in zip(answer.weights, wanted.weights, strict=True):
        assert got == pytest.approx(list(wanted_weights.values()), abs=1e-5)
    assert answer.weights[0] != answer.weights[-1]


def test_the_loop_goes_on_from_an_answer_that_was_begun(parts):
    whole = parts[0].answer(QUESTION, 6)
    rest = parts[0].answer(QUESTION, 2, whole.tokens[:4])
    assert rest.tokens == whole.tokens[4:]
    assert rest.weights[-1] == whole.weights[-1]


def test_an_answer_says_where_the_time_went(parts):
    seconds = parts[0].answer(QUESTION, 3).seconds
    assert min(seconds.embed, seconds.merge, seconds.prefix) > 0
    assert (seconds + seconds).total == pytest.approx(2 * seconds.total)
    assert parts_table(Seconds(1.0, 30.0, 9.0), 10).splitlines()[2:] == [
        "| embedding and weighing | 0.100 |",
        "| merging | 3.000 |",
        "| running the prefix | 0.900 |",
    ]


def test_the_whole_answer_takes_all_stretches_and_the_median_each():
    """Two stretches of 16 tokens at 8 and 2 a second: 32 tokens in 10 seconds."""
    speeds = Speeds()
    for place in range(3):
        for slower, rate in enumerate((1.0, 1.0)):
            speeds.add(REFERENCE, 8, place, rate / (1 + place * slower))
    for place, rates in enumerate([(8.0, 2.0), (160.0, 160.0), (16.0, 16.0)]):
        for rate in rates:
            speeds.add(TOKEN.title, 8, place, rate)
    assert speeds.whole(TOKEN.title, 8) == pytest.approx([3.2, 160, 16])
    assert speeds.speed(TOKEN.title, 8) == pytest.approx(16)
    # Reference: 1, 2/3 and 1/2 a second, so that the rounds' ratios are 3.2, 240 and 32.
    assert speeds.ratio(TOKEN.title, REFERENCE, 8) == pytest.approx(32)
    assert speeds.ratio_of_stretches(TOKEN.title, REFERENCE, 8) == pytest.approx((16 + 48) / 2)


def test_the_tables_hold_what_was_measured_and_no_more():
    speeds = Speeds()
    rates = [(REFERENCE, 1.0), (PROMPT.title, 20.0), (TOKEN.title, 15.0), (TOKEN_8.title, 19.0)]
    for system, rate in rates:
        speeds.add(system, 1, 0, rate)
    speeds.add(REFERENCE, 8, 0, 0.5)
    speeds.add(TOKEN.title, 8, 0, 75.0)
    assert table(speeds).splitlines() == [
        "| system | 1 request | 8 requests |",
        "|---|---|---|",
        f"| {REFERENCE} | 1.00 (1) | 0.50 (1) |",
        f"| {PROMPT.title} | 20.00 (20) | – |",
        f"| {TOKEN.title} | 15.00 (15) | 75.00 (150) |",
        f"| {TOKEN_8.title} | 19.00 (19) | – |",
    ]
    found = reached(speeds, AIMS)
    assert [(one.title.split(" / ")[0], one.requests, one.whole, one.aim) for one in found] == [
        (TOKEN.title, 1, 15.0, 20.0),
        (TOKEN.title, 8, 150.0, 120.0),
        (TOKEN_8.title, 1, 0.95, 0.8),
    ]
    lines = aims_table(found).splitlines()[2:]
    assert [line.split(" | ")[-1] for line in lines] == ["**no** |", "yes |", "yes |"]


def test_every_system_takes_its_turn_in_every_stretch():
    plan = Plan((TOKEN, RECOMPUTE_8), (1, 8), rounds=2, tokens=32, stretch=16, reference=2)
    turns = list(plan.turns())
    cells = {(place, start, requests) for place, start, requests, _ in turns}
    assert len(cells) == 2 * 2 * 2
    for cell in cells:
        wanted = {None, TOKEN} if cell[2] == 8 else {None, TOKEN, RECOMPUTE_8}
        systems = [system for *at, system in turns if tuple(at) == cell]
        assert (set(systems), len(systems)) == (wanted, len(wanted))
    first = [next(cell)[-1] for _, cell in itertools.groupby(turns, lambda turn: turn[:3])]
    assert len(set(first)) > 1, "the order never changes"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"loads": (0,)}, "--requests"),
        ({"loads": (MOST + 1,)}, "--requests"),
        ({"loads": ()}, "--requests"),
        ({"rounds": 0}, "--rounds"),
        ({"stretch": 24}, "--stretch"),
        ({"reference": 17}, "--reference-tokens"),
    ],
)
def test_plans_that_cannot_be_carried_out_are_refused(change, said):
    plan = Plan((TOKEN,), (1, 8), rounds=2, tokens=128, stretch=16, reference=2)
    check(plan)
    with pytest.raises(BenchmarkError, match=said):
        check(replace(plan, **change))


def test_prompts_differ_and_are_of_like_length():
    texts = prompts(MOST)
    assert len(set(texts)) == MOST
    assert max(map(len, texts)) < 2 * min(map(len, texts))


def test_variants_are_policies_and_static_ones_need_their_vectors():
    policies = [parse_policy(one.name, one.policy) for one in variants(has_static=True)]
    assert len({policy.version for policy in policies}) == len(VARIANTS)
    kept = variants(has_static=False)
    assert [one for one in VARIANTS if one not in kept] == [STATIC]


def test_speeds_from_stamps():
    stamps = [[1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0]]
    assert rate_together(stamps) == (2 + 2) / 2  # from 2 to 4
    assert rate_since(0.0, stamps) == 8 / 5
