import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from router.centroids.index import CentroidIndex
from router.errors import InvalidCentroid

VALUES = st.floats(-1, 1, allow_nan=False, width=32)


def reference(embedding, centroid):
    """The cosine with LoRA-TLE's floor, in float64, written out."""
    e, c = np.asarray(embedding, np.float64), np.asarray(centroid, np.float64)
    return float(e @ c / max(np.sqrt(e @ e) * np.sqrt(c @ c), 1e-6))


@settings(max_examples=60, deadline=None)
@given(
    rows=arrays(np.float64, st.tuples(st.integers(1, 40), st.just(24)), elements=VALUES),
    embedding=arrays(np.float32, 24, elements=VALUES),
)
def test_cosines_match_the_reference_to_1e_6(rows, embedding):
    rows = rows[np.linalg.norm(rows, axis=1) > 0]
    index = CentroidIndex()
    index.put_all((f"a{i:03}", "d", row) for i, row in enumerate(rows))
    scores = index.scores(embedding)
    assert scores.names == tuple(f"a{i:03}" for i in range(len(rows)))
    expected = [reference(embedding, row) for row in rows]
    np.testing.assert_allclose(scores.cosines, expected, atol=1e-6, rtol=0)


def test_a_thousand_wide_rows_match_the_reference_to_1e_6():
    rng = np.random.default_rng(7)
    rows, embedding = rng.standard_normal((1000, 384)), rng.standard_normal(384)
    index = CentroidIndex()
    index.put_all((f"a{i:04}", "d", row) for i, row in enumerate(rows))
    expected = [reference(embedding, row) for row in rows]
    np.testing.assert_allclose(index.scores(embedding).cosines, expected, atol=1e-6, rtol=0)


def test_a_tiny_product_of_lengths_is_floored():
    index = CentroidIndex()
    index.put("a", "d", np.array([1e-5, 0.0]))
    embedding = np.array([1e-5, 0.0], np.float32)
    assert index.scores(embedding).cosines[0] == pytest.approx(1e-4, rel=1e-5)
    assert index.scores(np.zeros(2, np.float32)).cosines[0] == 0.0


def test_the_nearest_of_several_centroids_counts():
    index = CentroidIndex()
    index.put("two", "d2", np.array([[1.0, 0.0], [0.0, 1.0]]))
    index.put("one", "d1", np.array([1.0, 1.0]))
    index.put("three", "d3", np.array([[-1.0, 0.0], [0.0, -1.0], [0.0, 3.0]]))
    scores = index.scores(np.array([0.0, 2.0], np.float32))
    assert scores.as_dict() == pytest.approx({"one": 0.5**0.5, "three": 1.0, "two": 1.0})
    assert scores.digests == ("d1", "d3", "d2")


def test_names_come_in_order_whatever_the_order_of_arrival():
    index = CentroidIndex()
    for name in ("zeta", "alpha", "mid"):
        index.put(name, f"d-{name}", np.eye(3)[0])
    assert index.snapshot.names == ("alpha", "mid", "zeta")


def test_put_replaces_and_remove_takes_out():
    index = CentroidIndex()
    index.put("a", "d1", np.array([1.0, 0.0]))
    index.put("a", "d2", np.array([0.0, 1.0]))
    scores = index.scores(np.array([0.0, 1.0], np.float32))
    assert (scores.digests, scores.as_dict()) == (("d2",), {"a": 1.0})
    assert index.remove("a")
    assert not index.remove("a")
    assert len(index) == 0
    assert index.scores(np.array([0.0, 1.0], np.float32)).names == ()


def test_an_adapter_without_centroid_is_known_but_not_scored():
    index = CentroidIndex()
    index.put("named", "d1", None)
    assert index.scores(np.ones(2, np.float32)).names == ()
    index.put("scored", "d2", np.array([1.0, 0.0]))
    assert index.scores(np.ones(2, np.float32)).names == ("scored",)
    assert index.snapshot.known == {"named": "d1", "scored": "d2"}
    assert "named" in index


@pytest.mark.parametrize(
    ("centroids", "match"),
    [
        (np.array([1.0, np.nan]), "not a number of"),
        (np.array([1.0, np.inf]), "not a number of"),
        (np.array([1.0, 1e7]), "not a number of"),
        (np.zeros(2), "is zero"),
        (np.array([[1.0, 0.0], [0.0, 0.0]]), "is zero"),
        (np.empty((0, 2)), "shape"),
        (np.ones((2, 2, 2)), "shape"),
        (np.ones(3), "'bad' has 3 values and adapter 'a' has 2"),
    ],
)
def test_unusable_centroids_are_refused_and_change_nothing(centroids, match):
    index = CentroidIndex()
    index.put("a", "d", np.array([1.0, 0.0]))
    before = index.snapshot
    with pytest.raises(InvalidCentroid, match=match):
        index.put("bad", "d", centroids)
    assert index.snapshot is before


def test_an_embedding_of_another_width_is_refused():
    index = CentroidIndex()
    index.put("a", "d", np.array([1.0, 0.0]))
    for width in (1, 4):
        words = f"{width} values was looked up among centroids of 2"
        with pytest.raises(InvalidCentroid, match=words):
            index.scores(np.ones(width, np.float32))


def test_one_value_more_lies_outside_the_space_of_the_centroids():
    index = CentroidIndex()
    index.put_all([("a", "d", np.array([2.0, 0.0])), ("b", "d", np.array([1.0, 1.0]))])
    inside = index.scores(np.array([1.0, 0.0])).cosines
    outside = index.scores(np.array([1.0, 0.0, np.sqrt(3)])).cosines
    assert outside == pytest.approx(inside / 2)


def test_a_snapshot_does_not_see_later_changes():
    index = CentroidIndex()
    index.put("a", "d", np.array([1.0, 0.0]))
    snapshot = index.snapshot
    index.put("b", "d", np.array([0.0, 1.0]))
    index.remove("a")
    assert snapshot.scores(np.array([1.0, 0.0], np.float32)).as_dict() == {"a": 1.0}


def test_readers_see_whole_states_while_writers_change_it():
    """Adapter k's centroid is the k-th axis, so a name beside a wrong row would show."""
    index, width = CentroidIndex(), 16
    embedding = np.arange(1, width + 1, dtype=np.float32)
    expected = embedding / np.linalg.norm(embedding)
    index.put("a00", "d0", np.eye(width)[0])
    wrong, done = [], threading.Event()

    def read():
        while not done.is_set():
            found = index.scores(embedding).as_dict()
            off = {n: c for n, c in found.items() if abs(c - expected[int(n[1:])]) > 1e-6}
            wrong.extend(off.items())

    def write(first):
        for turn in range(150):
            axis = first + turn % 7
            index.put(f"a{axis:02}", "d", np.eye(width)[axis])
            index.remove(f"a{first + (turn + 3) % 7:02}")

    threads = [threading.Thread(target=write, args=(first,)) for first in (1, 8)]
    reader = threading.Thread(target=read)
    for thread in (reader, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    reader.join()
    assert wrong == []
    assert "a00" in index
