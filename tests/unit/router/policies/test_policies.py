"""Every policy through one suite, and LoRA-TLE's against the source's figures."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.policies import POLICIES
from router.policies.fixed import FixedPolicy
from router.policies.nearest import NearestPolicy
from router.policies.softmax import SoftmaxPolicy
from router.policies.tle import TlePolicy, tle_weights
from router.policies.uniform import UniformPolicy

# (cosines, weights) of the original code, printed to three decimals.
TLE_VECTORS = [
    ((0.5, 0.3, 0.1, 0.1), (0.675, 0.123, 0.101, 0.101)),
    ((0.5, 0.45, 0.4, 0.35), (0.623, 0.132, 0.126, 0.120)),
    ((0.3, 0.2, 0.1, 0.05), (0.496, 0.182, 0.165, 0.157)),
    ((0.8, 0.2, 0.1, 0.1), (0.877, 0.044, 0.040, 0.040)),
    ((0.6, 0.2, 0.1, 0.1), (0.763, 0.084, 0.076, 0.076)),
    ((0.2, 0.2, 0.2, 0.2), (0.378, 0.207, 0.207, 0.207)),
    ((-0.1, -0.2, -0.3, -0.4), (0.231, 0.282, 0.255, 0.231)),
]
NAMES = ("a", "b", "c", "d", "e", "f", "g", "h")
EXAMPLES = {"fixed": FixedPolicy(weights=dict.fromkeys(NAMES, 0.1))}

cosines = st.lists(st.floats(-1, 1, allow_nan=False), min_size=1, max_size=8)


def policy_of(kind):
    return EXAMPLES.get(kind) or POLICIES[kind]()


def weigh(policy, scores):
    return policy.weigh(np.array(scores, np.float64), NAMES[: len(scores)])


@pytest.mark.parametrize(("scores", "weights"), TLE_VECTORS)
def test_unguarded_tle_gives_the_sources_seven_vectors(scores, weights):
    given = weigh(TlePolicy(guard_negative=False), scores)
    assert np.abs(given - np.array(weights)).max() <= 0.0005 + 1e-9


@pytest.mark.parametrize(("scores", "weights"), TLE_VECTORS[:-1])
def test_guarded_tle_gives_the_same_where_the_best_is_positive(scores, weights):
    assert np.abs(weigh(TlePolicy(), scores) - np.array(weights)).max() <= 0.0005 + 1e-9


def test_guarded_tle_keeps_the_best_of_negative_scores_heaviest():
    weights = weigh(TlePolicy(), (-0.1, -0.2, -0.3, -0.4))
    assert weights.argmax() == 0
    powers = [math.exp(score) for score in (-0.1, -0.2, -0.3, -0.4)]
    assert weights == pytest.approx([power / sum(powers) for power in powers])


def test_tle_is_its_closed_form():
    scores = (0.31, 0.62, -0.05)
    best = math.exp(4 * 0.62)
    total = best + math.exp(0.31) + math.exp(-0.05)
    assert weigh(TlePolicy(), scores)[1] == pytest.approx(best / total, abs=1e-12)


def test_tles_two_temperatures_are_separate():
    scores = np.array([0.4, 0.2])
    doubled = tle_weights(scores, max_temperature=8.0)
    assert doubled[0] == pytest.approx(1 / (1 + math.exp(0.2 - 3.2)))
    colder = tle_weights(scores, temperature=0.5)
    assert colder[0] == pytest.approx(1 / (1 + math.exp((0.2 - 1.6) / 0.5)))


def test_softmax_is_its_formula():
    weights = weigh(SoftmaxPolicy(temperature=0.1), (0.5, 0.3, 0.1))
    powers = [math.exp(score / 0.1) for score in (0.5, 0.3, 0.1)]
    assert weights == pytest.approx([power / sum(powers) for power in powers], abs=1e-12)


def test_softmax_does_not_overflow_at_the_smallest_temperatures():
    assert weigh(SoftmaxPolicy(temperature=1e-6), (0.5, 0.3)).tolist() == [1.0, 0.0]
    assert weigh(TlePolicy(temperature=1e-6), (0.5, 0.3)).tolist() == [1.0, 0.0]


def test_nearest_gives_all_to_the_best():
    assert weigh(NearestPolicy(), (0.1, 0.7, 0.3)).tolist() == [0.0, 1.0, 0.0]


def test_uniform_does_not_look_at_the_scores():
    assert weigh(UniformPolicy(), (0.9, -0.5, 0.1, 0.2)).tolist() == [0.25] * 4


def test_fixed_gives_its_weights_as_they_are():
    policy = FixedPolicy(weights={"b": 0.3, "a": 1.5, "c": 0.0})
    assert policy.named() == ("a", "b")
    assert policy.weigh(np.zeros(2), ("a", "b")).tolist() == [1.5, 0.3]
    assert policy.weigh(np.zeros((2, 2)), ("b", "d"), 1).tolist() == [[0.3, 0.0]] * 2


@pytest.mark.parametrize("kind", POLICIES)
@settings(max_examples=60, deadline=None)
@given(scores=cosines)
def test_weights_are_not_negative_and_sum_to_one_at_most(kind, scores):
    weights = weigh(policy_of(kind), scores)
    assert weights.shape == (len(scores),)
    assert weights.dtype == np.float64
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    if kind != "fixed":
        assert weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("kind", POLICIES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_permuting_adapters_permutes_their_weights(kind, data):
    scores = data.draw(st.lists(st.integers(-99, 99), min_size=1, max_size=8, unique=True))
    order = data.draw(st.permutations(range(len(scores))))
    values = np.array(scores) / 100
    policy, names = policy_of(kind), NAMES[: len(scores)]
    plain = policy.weigh(values, names)
    permuted = policy.weigh(values[list(order)], [names[place] for place in order])
    np.testing.assert_allclose(permuted, plain[list(order)], atol=1e-12)


@pytest.mark.parametrize("kind", [kind for kind in POLICIES if kind != "fixed"])
@settings(max_examples=60, deadline=None)
@given(scores=cosines, most=st.integers(1, 9))
def test_the_most_heaviest_share_what_all_would_have(kind, scores, most):
    policy, names, values = policy_of(kind), NAMES[: len(scores)], np.array(scores)
    every, fewer = policy.weigh(values, names), policy.weigh(values, names, most)
    kept = fewer > 0
    assert kept.sum() <= most
    assert fewer.sum() == pytest.approx(1.0)
    assert every[~kept].max(initial=0.0) <= every[kept].min()
    np.testing.assert_allclose(fewer[kept], every[kept] / every[kept].sum())


@pytest.mark.parametrize("kind", POLICIES)
@pytest.mark.parametrize("most", [None, 2])
def test_the_texts_of_a_batch_are_weighed_each_for_itself(kind, most):
    scores = np.tanh(np.random.default_rng(6).normal(size=(2, 3, 5)))
    policy = policy_of(kind)
    together = policy.weigh(scores, NAMES[:5], most)
    assert together.shape == scores.shape
    for place in np.ndindex(2, 3):
        alone = policy.weigh(scores[place], NAMES[:5], most)
        assert together[place].tolist() == alone.tolist()


def test_uniform_gives_all_to_the_first_where_not_all_may_have_some():
    assert UniformPolicy().weigh(np.zeros(4), NAMES[:4], 3).tolist() == [1 / 3, 1 / 3, 1 / 3, 0]
    assert UniformPolicy().weigh(np.zeros(2), NAMES[:2], 3).tolist() == [0.5, 0.5]


def test_policies_that_name_no_adapters_weigh_none_of_their_own():
    assert {kind: policy_of(kind).named() for kind in POLICIES} == {
        **dict.fromkeys(POLICIES, ()),
        "fixed": NAMES,
    }


def test_tles_options_are_those_of_its_rule():
    scores = (0.4, 0.2, -0.3)
    options = {"max_temperature": 2.0, "temperature": 0.5, "guard_negative": False}
    weights = weigh(TlePolicy(**options), scores)
    powers = [math.exp(value / 0.5) for value in (0.8, 0.2, -0.3)]
    assert weights == pytest.approx([power / sum(powers) for power in powers])
    assert tle_weights(np.array(scores)).tolist() == weigh(TlePolicy(), scores).tolist()
    assert tle_weights(np.array([-0.1, -0.2])).argmax() == 0


@pytest.mark.parametrize("kind", ["tle", "nearest"])
def test_the_first_of_tied_scores_is_the_best(kind):
    weights = weigh(policy_of(kind), (0.1, 0.5, 0.5, 0.5))
    assert weights.argmax() == 1
    assert weights[2] == weights[3] < weights[1]


@pytest.mark.parametrize("kind", [kind for kind in POLICIES if kind != "fixed"])
@pytest.mark.parametrize("score", [-0.7, 0.0, 0.7])
def test_one_adapter_gets_it_all(kind, score):
    assert weigh(policy_of(kind), [score]).tolist() == [1.0]


@pytest.mark.parametrize("kind", POLICIES)
def test_scores_are_left_as_they_are(kind):
    scores = np.array([0.4, 0.2, 0.1])
    policy_of(kind).weigh(scores, NAMES[:3])
    assert scores.tolist() == [0.4, 0.2, 0.1]


@pytest.mark.parametrize("kind", POLICIES)
def test_every_policy_tells_its_formula_source_and_invariant(kind):
    module = __import__(POLICIES[kind].__module__, fromlist=["__doc__"])
    assert "ource: " in module.__doc__ or "arXiv" in module.__doc__
    assert "Invariant: " in module.__doc__
    assert POLICIES[kind].model_fields["kind"].default == kind
