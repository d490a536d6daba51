"""No order of a sum shows in a weight: not the adapters', the batch's, the values', the library's.

Everything here is held to the last bit. Sums in floating point that are not exact fail it on some
processor or other, by what its BLAS library makes of a matrix's shape.
"""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from router.centroids.exact_products import WORTH_SHARING, noise, on_grid
from router.centroids.index import CentroidIndex, Entry, built
from router.choice import View, choose, choose_each, mixture_of
from router.policies.base import softmax
from router.policies.config import parse_policy
from router.policies.options import at_least, heaviest
from router.reweighing import Reweighing

WIDTH = 96
MANY = WORTH_SHARING // WIDTH + 50
POLICIES = [
    {"kind": "tle"},
    {"kind": "softmax", "temperature": 0.01},
    {"kind": "softmax", "temperature": 0.1, "top_k": 3},
    {"kind": "softmax", "temperature": 0.3, "min_weight": 0.05, "base_share": 0.2},
    {"kind": "nearest"},
]


def vectors(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, WIDTH))


def filled(rows):
    """An index of one adapter a row, or of several rows each."""
    index = CentroidIndex()
    index.put_all((f"a{i:05}", f"d{i}", row) for i, row in enumerate(rows))
    return index


@pytest.fixture(scope="module")
def many():
    """So many adapters that the first look is in single precision; all lean one way."""
    return filled(vectors(MANY) + 3 * vectors(1, seed=9))


def test_a_score_is_the_same_among_any_others():
    rows, text = vectors(60), vectors(1, seed=1)[0]
    whole = filled(rows).scores(text).as_dict()
    entries = filled(rows).snapshot.entries
    rng = np.random.default_rng(2)
    for size in range(1, 60):
        kept = rng.permutation(60)[:size]
        some = built({f"a{i:05}": entries[f"a{i:05}"] for i in kept}).scores(text).as_dict()
        assert some == {name: whole[name] for name in some}


def test_adapters_with_one_centroid_tie_wherever_they_stand():
    rows, text = vectors(61), vectors(1, seed=1)[0]
    rows[::4] = rows[0]
    scores = filled(rows).scores(text).cosines
    assert len(set(scores[::4].tolist())) == 1


def test_texts_are_scored_together_as_alone():
    index, texts = filled([vectors(1 + i % 3, seed=i) for i in range(30)]), vectors(33, seed=1)
    alone = np.array([index.scores(text).cosines for text in texts])
    assert (index.scores(texts).cosines == alone).all()
    assert (index.scores(texts[::-1]).cosines == alone[::-1]).all()
    assert (index.scores(texts.reshape(3, 11, -1)).cosines.reshape(33, -1) == alone).all()
    assert index.scores(texts[:0]).cosines.shape == (0, 30)


def test_the_order_of_the_dimensions_does_not_show():
    rows, texts = vectors(40), vectors(5, seed=1)
    order = np.random.default_rng(2).permutation(WIDTH)
    turned = filled(rows[:, order]).scores(texts[:, order]).cosines
    assert (turned == filled(rows).scores(texts).cosines).all()


def test_the_layout_of_the_centroids_in_memory_does_not_show():
    rows, text = [vectors(4, seed=i) for i in range(9)], vectors(1, seed=1)[0]
    turned = filled([np.asfortranarray(each) for each in rows])
    assert (turned.scores(text).cosines == filled(rows).scores(text).cosines).all()
    for name, entry in filled(rows).snapshot.entries.items():
        assert (turned.snapshot.entries[name].norms == entry.norms).all()


def test_short_vectors_are_floored_the_same_among_any_others():
    rows, text = vectors(20), 1e-6 * vectors(1, seed=1)[0]
    rows[5] *= 1e-5
    whole = filled(rows).scores(text).as_dict()
    assert filled(rows[:5]).scores(text).as_dict() == dict(list(whole.items())[:5])


def test_among_many_the_best_scores_are_those_among_a_few(many):
    everything = dict(many.snapshot.entries)
    assert many.snapshot.exact is None
    for text in vectors(4, seed=1):
        scores = many.scores(text, 9)
        best = [scores.names[place] for place in heaviest(scores.cosines, 9)]
        few = built({name: everything[name] for name in best})
        assert few.exact is not None
        assert few.scores(text).as_dict() == {name: scores.as_dict()[name] for name in best}
        every = many.scores(text)
        assert [every.names[place] for place in heaviest(every.cosines, 9)] == best
        assert np.abs(every.cosines - scores.cosines).max() <= noise(WIDTH)


def test_many_that_tie_are_all_exact(many):
    entry = many.snapshot.entries["a00000"]
    tied = built({f"t{i:05}": Entry(f"d{i}", entry.rows, entry.norms) for i in range(MANY)})
    scores = tied.scores(vectors(1, seed=1)[0], most=3).cosines
    assert len(set(scores.tolist())) == 1


@pytest.mark.parametrize("raw", POLICIES)
@pytest.mark.parametrize("limit", [1, 4, 8])
def test_a_mixture_over_many_is_that_over_the_kept(many, raw, limit):
    config = parse_policy("p", raw)
    view = View(many.snapshot)
    names = view.candidates(config, "p")[::2]
    for text in vectors(10, seed=1):
        scores = view.scores(text, names, limit)
        routed = mixture_of(choose(config, names, scores, limit), view, config, "p")
        there = Reweighing.over(view, names, scores, config, "p", limit)
        assert there.mixture(text) == routed
        assert Reweighing.from_wire(there.to_wire()).mixture(text) == routed


@pytest.mark.parametrize("raw", POLICIES)
def test_weights_are_the_same_over_the_kept_and_in_any_batch(raw):
    config = parse_policy("p", raw)
    scores = np.tanh(vectors(200, seed=3)[:, :40] / 3)
    names = tuple(f"a{i:02}" for i in range(40))
    together = choose_each(config, names, scores, 8)
    for row, choice in zip(scores, together, strict=True):
        assert choose(config, names, row, 8).weights.tolist() == choice.weights.tolist()
        kept = heaviest(row, 8)
        fewer = choose(config, tuple(names[place] for place in kept), row[kept], 8)
        assert fewer.weights.tolist() == choice.weights[kept].tolist()


def test_a_permuted_softmax_is_the_softmax_permuted():
    rng = np.random.default_rng(4)
    for logits in rng.normal(size=(200, 37)) * 9:
        order = rng.permutation(37)
        assert softmax(logits[order]).tolist() == softmax(logits)[order].tolist()
        floored = at_least(softmax(logits), 0.02)
        assert at_least(softmax(logits[order]), 0.02).tolist() == floored[order].tolist()


def test_the_heaviest_are_the_first_of_a_stable_sort():
    rng = np.random.default_rng(5)
    for values in rng.integers(0, 6, (300, 17)).astype(float):
        for k in (1, 3, 16, 17, 20):
            expected = sorted(np.argsort(-values, kind="stable")[:k].tolist())
            assert heaviest(values, k).tolist() == expected


def test_products_on_the_grid_are_exact_in_any_grouping():
    rows = [row / np.linalg.norm(row) for row in vectors(2)]
    one, other = on_grid(np.array(rows))
    exact = sum(int(a * 2**26) * int(b * 2**26) for a, b in zip(one, other, strict=True)) / 2**52
    rng = np.random.default_rng(6)
    for _ in range(50):
        order = rng.permutation(WIDTH)
        cut = rng.integers(1, WIDTH)
        first, rest = order[:cut], order[cut:]
        assert one[first] @ other[first] + one[rest] @ other[rest] == exact


SCRIPT = """
import sys
from tests.unit.router.centroids import test_same_sums as sums
sys.stdout.write(sums.digest())
"""


def digest():
    """Of scores and weights over a few adapters and over many."""
    found = hashlib.sha256()
    for index in (filled(vectors(77)), filled(vectors(MANY))):
        view = View(index.snapshot)
        for raw in POLICIES:
            config = parse_policy("p", raw)
            for text in vectors(7, seed=1):
                scores = view.scores(text, view.snapshot.names, 8)
                choice = choose(config, view.snapshot.names, scores, 8)
                found.update(np.sort(scores)[-8:].tobytes())
                found.update(choice.weights.tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("kernels", ["Prescott", "Sandybridge"])
def test_other_kernels_of_the_library_give_the_same(kernels):
    paths = os.pathsep.join(sys.path)
    environment = {**os.environ, "OPENBLAS_CORETYPE": kernels, "PYTHONPATH": paths}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout == digest()
