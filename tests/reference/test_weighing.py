"""What the reference writes out by hand is what the router computes."""

import numpy as np
import pytest

from benchmarks.tle.by_hand import MiniLM, scores_of
from benchmarks.tle.by_hand import tle_weights as tle_by_hand
from router.centroids.centroid import centroids as router_centroids
from router.centroids.index import CentroidIndex
from router.choice import View
from router.encoders import make_encoder
from router.policies.config import default_policies, overridden, parse_overrides
from router.policies.tle import tle_weights
from router.reweighing import Reweighing
from router.window import RoutingInput, embedding_of, stretches
from tests.reference.weighing import TLE, Rule, Talk, weigh_by
from tests.support.tiny_llama import TOPICS

TEXTS = [
    "Write a function that adds two numbers",
    "What is 12 times 7?",
    "",
    "Ein Satz auf Deutsch, ü und é; 数学",
    "The quick brown fox jumps over the lazy dog. " * 60,
]
ANSWER = " def add(a, b):\n    return a + b"
CHAT = (("system", "Say it in one line."), ("user", "What is ice?"), ("assistant", "Water."))
ASKED = (*CHAT, ("user", "And how do I add two numbers in Python?"))


@pytest.fixture(scope="module")
def encoder(encoder_path):
    return make_encoder(str(encoder_path))


@pytest.fixture(scope="module")
def by_hand(encoder_path):
    return MiniLM(encoder_path)


@pytest.fixture(scope="module")
def centroids(encoder):
    """Two of each adapter's, so that the larger cosine must be found."""
    return {
        name: router_centroids(encoder, [topic, name, topic.upper(), topic[::-1]] * 2, 2)
        for name, topic in sorted(TOPICS.items())
    }


@pytest.fixture(scope="module")
def view(centroids):
    index = CentroidIndex()
    index.put_all((name, name, rows) for name, rows in centroids.items())
    return View(index.snapshot)


@pytest.mark.parametrize("text", TEXTS)
def test_the_embedding_is_the_encoders(encoder, by_hand, text):
    assert by_hand.embed(text) == pytest.approx(encoder.encode([text])[0], abs=2e-6)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("pieces", [1, 5, 10_000])
def test_cuts_are_the_encoders(encoder, by_hand, text, pieces):
    assert by_hand.first(text, pieces).strip() == encoder.cut(text, 0, pieces)
    assert by_hand.last(text, pieces).strip() == encoder.cut(text, -pieces, None)


def test_scores_and_weights_of_the_rule_are_the_routers(encoder, by_hand, centroids, view):
    for text in TEXTS:
        scores = scores_of(by_hand.embed(text), centroids)
        names = tuple(centroids)
        wanted = view.scores(encoder.encode([text])[0], names)
        assert scores == pytest.approx(wanted, abs=2e-6)
        weights = tle_weights(wanted, guard_negative=False)
        assert tle_by_hand(scores) == pytest.approx(weights, abs=1e-5)


def test_a_negative_best_score_is_lowered_as_in_the_source():
    scores = [-0.2, -0.1, -0.3]
    by_hand = tle_by_hand(scores)
    assert by_hand == pytest.approx(tle_weights(np.array(scores), guard_negative=False))
    assert by_hand.index(min(by_hand)) == 1


@pytest.mark.parametrize(
    ("rule", "policy", "options"),
    [
        (TLE, "tle", {}),
        (Rule(part="tail"), "auto", {"window": "tail"}),
        (Rule(part="head", temperature=0.2), "auto", {"window": "head", "temperature": 0.2}),
        (Rule(top_k=2, min_weight=0.3), "auto", {"window": "tail", "top_k": 2, "min_weight": 0.3}),
        (Rule(part="whole"), "auto", {"window": "whole"}),
        (Rule(part="last_message"), "auto", {"window": "last_message"}),
    ],
)
@pytest.mark.parametrize("said", [*[Talk(text=text) for text in TEXTS if text], Talk(ASKED)])
@pytest.mark.parametrize("answer", ["", ANSWER])
def test_weights_are_the_routers(
    encoder, by_hand, centroids, view, rule, policy, options, said, answer
):
    is_long = said.text == TEXTS[-1]
    if is_long and rule.part in ("whole", "last_message"):
        with pytest.raises(AssertionError, match="all of it must fit"):
            weigh_by(rule, by_hand, centroids, said, Spoken(answer))([1])
        return
    config = overridden(default_policies()[policy], parse_overrides(options))
    spoken = RoutingInput(said.messages, said.text)
    texts = stretches(spoken, config.window, encoder, answer)
    embedding = embedding_of(texts, encoder)
    names = tuple(centroids)
    reweighing = Reweighing.over(view, names, view.scores(embedding, names), config, policy, None)
    found = weigh_by(rule, by_hand, centroids, said, Spoken(answer))([1])
    wanted = reweighing.mixture(embedding).weights
    assert found.keys() == wanted.keys()
    assert found == pytest.approx(dict(wanted), abs=2e-5)


class Spoken:
    """A tokenizer whose every answer reads the same."""

    def __init__(self, answer):
        self._answer = answer

    def decode(self, tokens, **options):
        del tokens, options
        return self._answer
