import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.policies import options
from router.policies.options import Candidates

weight_lists = st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=8)


def test_the_heaviest_come_in_order_and_the_first_of_ties():
    assert options.heaviest(np.array([0.1, 0.4, 0.3, 0.2]), 2).tolist() == [1, 2]
    assert options.heaviest(np.full(4, 0.25), 2).tolist() == [0, 1]


@given(values=st.lists(st.integers(0, 5), min_size=1, max_size=12), k=st.integers(1, 13))
def test_the_heaviest_are_the_first_of_a_stable_sort(values, k):
    expected = sorted(np.argsort(-np.array(values), kind="stable")[:k].tolist())
    assert options.heaviest(np.array(values, np.float64), k).tolist() == expected


@pytest.mark.parametrize("k", [1, 10, 400, 999])
def test_the_heaviest_of_very_many_are_found(k):
    values = np.random.default_rng(7).permutation(1000).astype(np.float64)
    assert (values[options.heaviest(values, k)] >= 1000 - k).all()
    assert len(options.heaviest(values, k)) == k


@pytest.mark.parametrize("k", [None, 3, 9])
def test_the_heaviest_of_no_more_are_all(k):
    assert options.heaviest(np.array([0.2, 0.5, 0.3]), k).tolist() == [0, 1, 2]


def test_min_weight_drops_the_lighter_and_scales_the_rest_up():
    assert options.at_least(np.array([0.6, 0.3, 0.1]), 0.3) == pytest.approx([2 / 3, 1 / 3, 0])


def test_min_weight_drops_in_each_row_for_itself():
    weights = np.array([[[1.0, 0.2], [0.5, 0.5]], [[0.1, 0.0], [0.6, 0.4]]])
    kept = [[[1.2, 0], [0.5, 0.5]], [[0, 0], [1.0, 0]]]
    assert options.at_least(weights, 0.5) == pytest.approx(np.array(kept))
    rows = weights.reshape(4, 2)
    assert options.at_least(rows, 0.5) == pytest.approx(np.array(kept).reshape(4, 2))


def test_no_min_weight_leaves_every_weight_to_the_last_bit():
    weights = np.array([0.1, 0.7, 1 / 3])
    assert options.at_least(weights, 0.0) is weights


def test_min_weight_that_none_reaches_leaves_nothing():
    assert options.at_least(np.full(4, 0.25), 0.3).tolist() == [0.0] * 4


@given(weights=weight_lists, floor=st.floats(0, 0.99))
def test_min_weight_keeps_the_sum_or_leaves_nothing(weights, floor):
    before = np.array(weights)
    after = options.at_least(before, floor)
    assert after.sum() == pytest.approx(before.sum()) or not after.any()


def test_base_share_scales_the_rest():
    assert options.beside_base(np.array([0.75, 0.25]), 0.2) == pytest.approx([0.6, 0.2])


@pytest.mark.parametrize(
    ("threshold", "reached"), [(None, True), (0.4, True), (0.5, True), (0.51, False)]
)
def test_the_best_score_has_to_reach_the_threshold(threshold, reached):
    assert options.reaches(np.array([0.1, 0.5]), threshold) is reached


@pytest.mark.parametrize(
    ("candidates", "through"),
    [
        (Candidates(), "abc"),
        (Candidates(include=("a", "b")), "ab"),
        (Candidates(exclude=("b",)), "ac"),
        (Candidates(include=("a", "z"), exclude=("c",)), "a"),
    ],
)
def test_lists_let_candidates_through(candidates, through):
    assert candidates.through("abc") == tuple(through)
