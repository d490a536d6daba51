"""The encoder that ships for the default base model."""

import json
from pathlib import Path

import numpy as np
import pytest

from router.centroids.index import CentroidIndex
from router.encoders import make_encoder
from router.encoders.static import BUNDLED
from router.encoders.vocabulary import (
    found_tokenizer,
    load_tokenizer,
)
from router.fit import read_fitted

ADAPTERS = Path(__file__).parents[5] / "examples" / "adapters"
NAMES = ("code", "maths", "reading", "science")
TEXTS = {
    "maths": "Question: A baker makes 24 rolls an hour and sells them at $2 each. How much money"
    " does he make in a day of 8 hours?\n\nAnswer: In a day he bakes 24 * 8 = 192 rolls.",
    "science": "Question: Which of these is a renewable source of energy?\nChoices:\nA. coal\n"
    "B. natural gas\nC. wind\nD. petroleum\n\nAnswer: C",
    "code": "Write a Python function that checks whether a string is a palindrome.\n\nAnswer:"
    " def is_palindrome(text):\n    return text == text[::-1]",
}


@pytest.fixture(scope="module")
def bundled():
    return make_encoder("static:static-smollm2", threads=None, cache_size=0, dtype="bfloat16")


@pytest.fixture(scope="module")
def centroids():
    data = [read_fitted(ADAPTERS / name / "router.json") for name in NAMES]
    return [np.array(one.centroids) for one in data]


def scores_of(embeddings, centroids):
    index = CentroidIndex()
    index.put_all((name, "d", row) for name, row in zip(NAMES, centroids, strict=True))
    return np.array([index.scores(row).cosines for row in embeddings])


def test_the_bundled_encoder_scores_as_its_teacher_does(bundled, encoder, centroids):
    assert (bundled.name, bundled.space) == ("static-smollm2", encoder.space)
    texts = list(TEXTS.values())
    ours = scores_of(bundled.encode(texts), centroids)
    wanted = scores_of(encoder.encode(texts), centroids)
    assert [NAMES[place] for place in ours.argmax(axis=1)] == list(TEXTS)
    assert (ours.argmax(axis=1) == wanted.argmax(axis=1)).all()
    assert np.abs(ours - wanted).mean() < 0.08


def test_the_bundled_encoder_follows_a_text_that_turns(bundled, centroids):
    """A state that goes on from sums to code moves from one centroid to the other."""
    state = bundled.begin(TEXTS["maths"])
    assert NAMES[int(scores_of([bundled.embedding(state)], centroids).argmax())] == "maths"
    tokenizer = load_tokenizer(found_tokenizer("HuggingFaceTB/SmolLM2-135M-Instruct"))
    for token in tokenizer.encode(TEXTS["code"] * 6).ids:
        state.add([token])
    assert NAMES[int(scores_of([bundled.embedding(state)], centroids).argmax())] == "code"


def test_the_bundled_files_are_small_and_special_tokens_say_nothing(bundled):
    folder = BUNDLED / "static-smollm2"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 4_000_000
    said = bundled.begin("Write code.")
    templated = bundled.begin("<|im_start|>Write code.<|im_end|>")
    assert (said.direction() == templated.direction()).all()


def test_the_bundled_agreement_is_that_of_its_card():
    folder = BUNDLED / "static-smollm2"
    figures = json.loads((folder / "agreement.json").read_text())["agreement"]
    card = (folder / "README.md").read_text()
    for row in figures:
        assert f"| {row['group']} | {row['samples']} | {row['top_1']:.3f} |" in card
