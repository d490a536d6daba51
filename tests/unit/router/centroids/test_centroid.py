import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.adapter import RoutingData
from router.centroids.centroid import BATCH_SIZE, centroid, centroid_of, centroids, checked_centroid
from router.errors import CentroidMismatch, InvalidCentroid, NoExamples

WORDS = ["sum", "loop", "river", "why", "the capital of France", "x = [1, 2]", "photosynthesis"]


@settings(max_examples=12, deadline=None)
@given(texts=st.lists(st.sampled_from(WORDS), min_size=1, max_size=2 * BATCH_SIZE + 1))
def test_a_centroid_is_the_plain_mean_to_1e_6(encoder, texts):
    mean = np.mean([encoder.encode([text])[0].astype(np.float64) for text in texts], axis=0)
    np.testing.assert_allclose(centroid(encoder, texts), mean, atol=1e-6, rtol=0)


def test_a_centroid_is_not_normalised_again(encoder):
    assert np.linalg.norm(centroid(encoder, ["a river", "x = [1, 2]"])) < 0.9
    assert np.linalg.norm(centroid(encoder, ["a river"])) == pytest.approx(1, abs=1e-5)


def test_blank_texts_are_left_out(encoder):
    expected = centroid(encoder, ["a river"])
    assert (centroid(encoder, ["", "a river", " \n"]) == expected).all()


@pytest.mark.parametrize("texts", [[], ["", "  \n"]])
def test_no_text_is_an_error(encoder, texts):
    with pytest.raises(NoExamples, match="at least one example text"):
        centroid(encoder, texts)


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        ([1.0, 2.0], "has 2 values; the encoder makes 3"),
        ([], "has 0 values"),
        ([[1.0, 2.0, 3.0]], "has 1×3 values"),
        (4.0, "has 1 values"),
        ([1.0, float("nan"), 0.0], "not a number of at most"),
        ([1.0, float("inf"), 0.0], "not a number of at most"),
        ([0.0, 0.0, 0.0], "is zero"),
        (["a", "b", "c"], "must be a list of numbers"),
        ([[1.0], [2.0, 3.0]], "must be a list of numbers"),
        ([1e300, 1e300, 1e300], "not a number of at most"),
    ],
)
def test_unusable_vectors_are_refused(vector, words):
    with pytest.raises(InvalidCentroid, match=words):
        checked_centroid(vector, 3)


def test_a_ready_centroid_of_this_encoder_serves(encoder):
    ready = tuple(float(value) for value in range(384))
    data = RoutingData(examples=("a river",), centroids=(ready,), encoder=encoder.name)
    assert centroid_of(encoder, data).tolist() == [list(ready)]


def test_all_ready_centroids_serve_and_each_is_checked(encoder):
    rows = tuple(map(tuple, np.eye(384)[:3].tolist()))
    data = RoutingData(centroids=rows, encoder=encoder.name)
    assert centroid_of(encoder, data).tolist() == [list(row) for row in rows]
    with pytest.raises(InvalidCentroid, match="has 2 values"):
        centroid_of(encoder, RoutingData(centroids=(*rows, (1.0, 2.0)), encoder=encoder.name))


def test_texts_about_unlike_things_get_several_centroids(encoder):
    alike = [f"What is {number} + {number + 3}?" for number in range(12)]
    assert (centroids(encoder, alike) == [centroid(encoder, alike)]).all()
    subjects = [*WORDS, "a wedding cake", "football scores", "income tax", "guitar chords"]
    unlike = [text for word in subjects for text in (word, f"{word}?", f"{word}!", f"{word}.")]
    several = centroids(encoder, unlike)
    assert 1 < len(several) <= len(unlike) // 4
    assert (centroids(encoder, unlike) == several).all()
    assert centroids(encoder, unlike, 4).shape == (4, 384)
    assert (centroids(encoder, unlike, 1) == [centroid(encoder, unlike)]).all()


def test_a_centroid_of_another_encoder_is_made_again_from_the_texts(encoder):
    stale = RoutingData(examples=("a river",), centroids=((1.0, 2.0),), encoder="another")
    assert (centroid_of(encoder, stale) == centroid(encoder, ["a river"])).all()
    described = RoutingData(description="Rivers.", centroids=((1.0, 2.0),), encoder=None)
    assert (centroid_of(encoder, described) == centroid(encoder, ["Rivers."])).all()


@pytest.mark.parametrize(
    ("made_by", "words"), [("another", "encoder 'another'"), (None, "no named")]
)
def test_a_centroid_of_another_encoder_without_texts_is_refused(encoder, made_by, words):
    with pytest.raises(CentroidMismatch, match=f"made by {words}.*'all-MiniLM-L6-v2'"):
        centroid_of(encoder, RoutingData(centroids=((1.0,) * 384,), encoder=made_by))


def test_examples_go_before_the_description_and_nothing_gives_none(encoder):
    data = RoutingData(examples=("a river",), description="Something else.")
    assert (centroid_of(encoder, data) == centroid(encoder, ["a river"])).all()
    assert centroid_of(encoder, RoutingData()) is None
    assert centroid_of(encoder, RoutingData(examples=(" ",), description="")) is None
