import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.centroids import clusters
from router.centroids.clusters import (
    COVERAGE,
    EXAMPLES_EACH,
    MOST_CLUSTERED,
    clustered,
    coverage,
    covering,
)

WIDTH = 24


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def around(directions, each, spread=0.05, seed=0):
    """``each`` vectors of length 1 about each direction."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(directions, each, axis=0)
    return unit(rows + spread * rng.standard_normal(rows.shape)).astype(np.float32)


def test_vectors_that_are_alike_keep_their_mean():
    rows = around(np.eye(WIDTH)[:1], 50)
    np.testing.assert_allclose(covering(rows), [rows.mean(axis=0, dtype=np.float64)])


@pytest.mark.parametrize("subjects", [6, 8, 12])
def test_vectors_about_many_things_get_centroids_until_they_are_covered(subjects):
    rows = around(np.eye(WIDTH)[:subjects], 20)
    found = covering(rows)
    assert coverage(rows, clustered(rows, 1)) < COVERAGE <= coverage(rows, found)
    assert 1 < len(found) <= subjects


def test_a_centroid_lies_halfway_between_its_cluster_and_all():
    rows = around(np.eye(WIDTH)[:3], 20)
    means = unit(rows.reshape(3, 20, WIDTH).mean(axis=1, dtype=np.float64))
    expected = (means + unit(rows.mean(axis=0, dtype=np.float64))) / 2
    found = clustered(rows, 3)
    np.testing.assert_allclose(found[found[:, :3].argmax(axis=1).argsort()], expected, atol=1e-6)


def test_few_examples_do_not_get_a_centroid_each():
    rows = np.eye(WIDTH, dtype=np.float32)
    assert len(covering(rows[: 2 * EXAMPLES_EACH - 1])) == 1
    assert len(covering(rows)) <= WIDTH // EXAMPLES_EACH


def test_as_many_examples_as_a_centroid_needs_give_it_one():
    axis = np.eye(WIDTH, dtype=np.float32)[:1]
    opposite = np.concatenate([np.repeat(axis, EXAMPLES_EACH, axis=0)] * 2)
    opposite[EXAMPLES_EACH:] *= -1
    assert len(covering(opposite)) == 2
    assert len(covering(opposite[1:])) == 1


def test_examples_that_are_just_covered_keep_their_mean():
    rows = np.repeat(np.eye(4), 4, axis=0)
    assert coverage(rows, clustered(rows, 1)) == COVERAGE
    assert covering(rows).tolist() == [[0.25] * 4]


def test_coverage_is_the_mean_cosine_to_the_nearest():
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    found = coverage(rows, np.array([[3.0, 0.0], [1.0, 1.0]]))
    assert found == pytest.approx((1 + 0.5**0.5 + 1.4 * 0.5**0.5) / 3)
    assert coverage(rows, np.zeros((1, 2))) == 0.0


def test_there_are_no_more_centroids_than_unlike_vectors():
    rows = np.repeat(around(np.eye(WIDTH)[:2], 1), 10, axis=0)
    assert len(clustered(rows, 5)) == 2
    nearly = rows[:10] + np.float32(1e-8) * np.arange(10, dtype=np.float32)[:, None]
    assert len(clustered(nearly, 5)) == 1


def test_embeddings_of_one_text_from_many_batches_are_one():
    rng = np.random.default_rng(0)
    text = unit(rng.standard_normal((1, 384)))
    rows = text + 1e-7 * rng.standard_normal((40, 384))
    assert len(clustered(rows, 5)) == 1
    assert len(clustered(np.concatenate([rows, -rows]), 5)) == 2


def test_values_that_agree_to_a_hundred_thousandth_are_of_one_text():
    rows = np.zeros((2, 3))
    rows[:, 0] = 1.0
    rows[1, 2] = 1e-5
    assert len(clustered(rows, 2)) == 1
    rows[1, 2] = 1.1e-5
    assert len(clustered(rows, 2)) == 2


def test_opposite_vectors_without_a_common_direction_keep_their_own():
    rows = np.repeat(np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32), 8, axis=0)
    assert sorted(unit(clustered(rows, 2))[:, 0].tolist()) == [-1.0, 1.0]


def test_very_many_vectors_are_thinned_out_evenly():
    rows = around(np.eye(WIDTH)[:4], MOST_CLUSTERED)
    assert len(clustered(rows, 4)) == 4
    assert coverage(rows, clustered(rows, 4)) > 0.75


@pytest.mark.parametrize(
    ("count", "looked_at"), [(6, [0, 2, 3, 5]), (7, [0, 2, 4, 6]), (4, [0, 1, 2, 3])]
)
def test_clusters_are_looked_for_in_rows_from_the_first_to_the_last(monkeypatch, count, looked_at):
    monkeypatch.setattr(clusters, "MOST_CLUSTERED", 4)
    rows = np.eye(WIDTH)[:count]
    expected = (rows[looked_at] + unit(rows.mean(axis=0))) / 2
    found = clustered(rows, 4)
    places = (found - unit(rows.mean(axis=0)) / 2).argmax(axis=1)
    np.testing.assert_allclose(found[places.argsort()], expected, atol=1e-12)


def test_of_several_beginnings_the_best_counts():
    """From each of the first three, two of these subjects share a cluster."""
    rows = around(np.eye(WIDTH)[:20], EXAMPLES_EACH, spread=0.1, seed=13)
    found = clustered(rows, 20) - unit(rows.mean(axis=0, dtype=np.float64)) / 2
    assert sorted(found.argmax(axis=1).tolist()) == list(range(20))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 2**16))
def test_any_vectors_give_finite_centroids_the_same_each_time(count, wanted, seed):
    rng = np.random.default_rng(seed)
    rows = unit(rng.standard_normal((count, WIDTH))).astype(np.float32)
    found = clustered(rows, wanted)
    assert len(found) <= wanted
    assert np.isfinite(found).all()
    assert (found == clustered(rows, wanted)).all()
