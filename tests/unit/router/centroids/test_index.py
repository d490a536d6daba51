import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from router.centroids.exact_products import noise
from router.centroids.index import CentroidIndex, Entry, Scores, built
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


def test_the_floor_is_for_what_is_short_alone():
    """A long text makes up for a short centroid, and the other way about."""
    index = CentroidIndex()
    index.put_all([("short", "d", np.array([1e-5, 0.0])), ("long", "d", np.array([1e4, 1e4]))])
    texts = np.array([[1e-5, 0.0], [1e-9, 0.0], [5.0, 0.0]])
    found = index.scores(texts).cosines
    expected = [[reference(text, row) for row in ([1e4, 1e4], [1e-5, 0.0])] for text in texts]
    assert found == pytest.approx(np.array(expected), rel=1e-6)


def test_the_nearest_of_several_centroids_counts():
    index = CentroidIndex()
    index.put("two", "d2", np.array([[1.0, 0.0], [0.0, 1.0]]))
    index.put("one", "d1", np.array([1.0, 1.0]))
    index.put("three", "d3", np.array([[-1.0, 0.0], [0.0, -1.0], [0.0, 3.0]]))
    scores = index.scores(np.array([0.0, 2.0], np.float32))
    assert scores.as_dict() == pytest.approx({"one": 0.5**0.5, "three": 1.0, "two": 1.0})
    assert scores.digests == ("d1", "d3", "d2")


def test_each_text_has_the_nearest_of_several_centroids():
    index = CentroidIndex()
    index.put("two", "d2", np.eye(3)[:2])
    index.put("zero", "d0", np.eye(3)[2:])
    found = index.scores(np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0], [0.0, 0.6, 0.8]]))
    assert found.cosines == pytest.approx(np.array([[0.8, 0.0], [0.0, 1.0], [0.6, 0.8]]))


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 1, 3)])
def test_scores_have_the_shape_of_the_texts(shape):
    index = CentroidIndex()
    index.put_all([("a", "d", np.eye(4)[0]), ("b", "d", np.eye(4)[1])])
    texts = np.ones((*shape, 4))
    found = index.scores(texts)
    assert (found.names, found.digests) == (("a", "b"), ("d", "d"))
    assert found.cosines.shape == (*shape, 2)
    assert CentroidIndex().scores(texts).cosines.shape == (*shape, 0)


def test_some_are_scored_in_the_order_that_they_are_asked_for():
    index = CentroidIndex()
    index.put_all((name, f"d-{name}", axis) for name, axis in zip("abc", np.eye(3), strict=True))
    found = index.snapshot.scores(np.array([0.0, 0.6, 0.8]), [2, 0])
    assert (found.names, found.digests) == (("c", "a"), ("d-c", "d-a"))
    assert found.cosines == pytest.approx([0.8, 0.0])


def test_scores_without_a_name_are_nobodys():
    with pytest.raises(ValueError, match="zip"):
        Scores(("a",), ("d",), np.zeros(2)).as_dict()


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


LARGE = "a centroid of adapter 'bad' holds a value that is not a number of at most ±1e+06"
ZERO = "a centroid of adapter 'bad' is zero; no cosine can be taken"
SHAPE = "centroids of adapter 'bad' must have the shape [d] or [p, d]"


@pytest.mark.parametrize(
    ("centroids", "words"),
    [
        (np.array([1.0, np.nan]), LARGE),
        (np.array([1.0, np.inf]), LARGE),
        (np.array([1.0, -1.001e6]), LARGE),
        (np.zeros(2), ZERO),
        (np.array([[1.0, 0.0], [0.0, 0.0]]), ZERO),
        (np.empty((0, 2)), SHAPE),
        (np.ones((2, 2, 2)), SHAPE),
        (
            np.ones(3),
            "centroids of one index have one width, but adapter 'bad' has 3 values and adapter 'a'"
            " has 2",
        ),
    ],
)
def test_unusable_centroids_are_refused_and_change_nothing(centroids, words):
    index = CentroidIndex()
    index.put("a", "d", np.array([1.0, 0.0]))
    before = index.snapshot
    with pytest.raises(InvalidCentroid) as refused:
        index.put("bad", "d", centroids)
    assert str(refused.value) == words
    assert index.snapshot is before


def test_the_largest_values_and_the_narrowest_centroids_are_usable():
    index = CentroidIndex()
    index.put("large", "d", np.array([1e6]))
    index.put("small", "d", np.array([-1e-6]))
    assert index.scores(np.array([2.0])).as_dict() == {"large": 1.0, "small": -1.0}


def test_an_embedding_of_another_width_is_refused():
    index = CentroidIndex()
    index.put("a", "d", np.array([1.0, 0.0]))
    for width in (1, 4):
        with pytest.raises(InvalidCentroid) as refused:
            index.scores(np.ones(width, np.float32))
        assert str(refused.value) == (
            f"an embedding of {width} values was looked up among centroids of 2; they must come"
            " from one encoder"
        )


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


TURNED = np.array([[0.6, 0.8], [-0.8, 0.6]])
"""By an angle at which no value is a short binary fraction."""


def many(monkeypatch, cosines) -> CentroidIndex:
    """An index whose first look is in single precision, by the cosines of (0.6, 0.8) to it."""
    monkeypatch.setattr("router.centroids.index.WORTH_SHARING", 0)
    rows = np.array([[cosine, (1 - cosine**2) ** 0.5] for cosine in cosines]) @ TURNED
    index = CentroidIndex()
    index.put_all((f"a{number:02}", "d", row) for number, row in enumerate(rows))
    return index


def exact_of(index: CentroidIndex, text=TURNED[0]) -> list[float]:
    return built(dict(index.snapshot.entries), few=True).scores(text).cosines.tolist()


def test_among_many_those_that_noise_could_bring_up_are_taken_again(monkeypatch):
    """Both a score and the last that counts may be off by the noise, in opposite ways."""
    off = noise(2)
    cosines = [0.61, 0.6 - 1.5 * off, 0.9, 0.6 - 2.5 * off, 0.6, 0.1, -0.7]
    index = many(monkeypatch, cosines)
    wanted = np.array(exact_of(index))
    found = index.scores(TURNED[0], most=3).cosines
    assert (found == wanted).tolist() == [True, True, True, False, True, False, False]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=off)


@pytest.mark.parametrize("most", [1, 7, 150, 299])
def test_among_very_many_the_best_are_taken_again(monkeypatch, most):
    monkeypatch.setattr("router.centroids.index.WORTH_SHARING", 0)
    index, rng = CentroidIndex(), np.random.default_rng(most)
    index.put_all((f"a{n:03}", "d", row) for n, row in enumerate(rng.normal(size=(300, 40))))
    text = rng.normal(size=40)
    wanted = np.array(exact_of(index, text))
    found = index.scores(text, most).cosines
    assert np.flatnonzero(found == wanted).tolist() == sorted(wanted.argsort()[-most:].tolist())


@pytest.mark.parametrize("most", [None, 4, 5])
def test_among_many_all_are_exact_where_all_may_count(monkeypatch, most):
    index = many(monkeypatch, [0.61, 0.43, -0.2, 0.11])
    texts = np.array([TURNED[0], [0.3, 0.1]])
    found = index.scores(texts, most=most).cosines
    assert found.tolist() == [exact_of(index, text) for text in texts]


def test_from_a_size_on_an_index_is_looked_up_in_single_precision(monkeypatch):
    monkeypatch.setattr("router.centroids.index.WORTH_SHARING", 12)
    entries = {
        f"a{n}": Entry("d", np.eye(3, dtype=np.float32)[n % 3 :][:1], np.ones(1)) for n in range(4)
    }
    several = built(entries)
    assert several.exact is None
    assert [part.shape for part in several.parts] == [(3, 1)] * 4
    for fewer in (built(entries, few=True), built(dict(list(entries.items())[:3]))):
        assert fewer.exact.shape[0] == 3
        assert fewer.parts == ()


def test_what_is_kept_of_centroids_is_in_single_precision():
    index = CentroidIndex()
    index.put("a", "d", np.array([[3.0, 4.0], [0.0, 2.0]]))
    entry = index.snapshot.entries["a"]
    assert entry.rows.dtype == np.float32
    assert entry.rows == pytest.approx(np.array([[0.6, 0.8], [0.0, 1.0]]))
    assert entry.norms.tolist() == [5.0, 2.0]
    index.put("given in single precision", "d", np.array([0.1, 0.7], np.float32))
    (norm,) = index.snapshot.entries["given in single precision"].norms
    assert norm == np.hypot(*np.array([0.1, 0.7], np.float32).astype(np.float64))
