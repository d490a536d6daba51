"""What an adapter's routing data become: the mean of its texts, or ready centroids that serve."""

import numpy as np
import pytest

from adapters.adapter import RoutingData
from router.centroids.centroid import (
    BATCH_SIZE,
    batches,
    centroid,
    centroid_of,
    centroids,
    centroids_of,
    checked_centroid,
    checked_centroids,
    texts_to_embed,
)
from router.centroids.clusters import EXAMPLES_EACH
from router.encoders.static import StaticEncoder
from router.encoders.static_format import write_folder
from router.encoders.vocabulary import vocabulary_size
from router.errors import CentroidMismatch, InvalidCentroid, NoExamples
from tests.support.routing import CountingEncoder
from tests.support.tiny_static import TEACHER_WIDTH, WIDTH, config_for, tiny_tokenizer

WORDS = ["add", "two", "numbers", "photosynthesis", "a river"]
SPACE = "all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A tiny static one: its embeddings have a value more than the space of the centroids."""
    folder, tokenizer = tmp_path_factory.mktemp("encoder") / "tiny", tiny_tokenizer()
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((vocabulary_size(tokenizer), WIDTH))
    basis = 0.6 * np.linalg.qr(rng.standard_normal((TEACHER_WIDTH, WIDTH)))[0].T
    write_folder(folder, config_for(tokenizer), rows, basis)
    return StaticEncoder(str(folder), tokenizer=tokenizer)


def test_a_centroid_is_the_mean_of_the_texts_within_the_space(encoder):
    mean = encoder.encode(WORDS).astype(np.float64).mean(axis=0)
    found = centroid(encoder, WORDS)
    assert (found.shape, found.dtype) == ((TEACHER_WIDTH,), np.float64)
    np.testing.assert_allclose(found, mean[:TEACHER_WIDTH], rtol=0, atol=1e-12)
    assert (centroids(encoder, WORDS) == [found]).all()


def test_sums_of_very_many_texts_are_in_double_precision(encoder):
    rows = np.full((50_000, TEACHER_WIDTH), 0.1, np.float32)
    (mean,) = centroids_of([rows], encoder)
    np.testing.assert_allclose(mean, rows[0].astype(np.float64), rtol=1e-12)


def test_texts_are_embedded_a_few_at_a_time_and_blank_ones_never(encoder):
    texts = [word for word in WORDS * 4 for word in (word, " ", "")]
    given = list(batches(texts))
    assert [len(batch) for batch in given] == [BATCH_SIZE, BATCH_SIZE, len(WORDS * 4) % BATCH_SIZE]
    counting = CountingEncoder(encoder)
    centroid(counting, texts)
    assert counting.texts == WORDS * 4 == [text for batch in given for text in batch]


def test_texts_that_were_embedded_before_give_the_same_centroids(encoder):
    rows = [encoder.encode(batch) for batch in batches(WORDS * 4)]
    assert (centroids_of(rows, encoder) == centroids(encoder, WORDS * 4)).all()


def test_clusters_are_of_directions_and_one_mean_is_of_the_texts_as_they_are(encoder):
    """An encoder whose embeddings have unlike lengths, one of them none at all."""
    axes = np.repeat(np.eye(TEACHER_WIDTH + 1, dtype=np.float32)[:6], EXAMPLES_EACH, axis=0)
    lengths = np.linspace(1, 3, len(axes), dtype=np.float32)[:, None]
    short, long = (centroids_of([rows], encoder) for rows in (axes, axes * lengths))
    assert len(short) > 1
    np.testing.assert_allclose(short, long, atol=1e-6)
    alike = axes[:2] * [[1], [3]]
    assert centroids_of([alike.astype(np.float32)], encoder).tolist() == [[2.0] + [0.0] * 7]
    silent = np.concatenate([axes[:1], 0 * axes[:1]])
    assert centroids_of([silent], encoder).tolist() == [[0.5] + [0.0] * 7]


def test_as_many_centroids_as_are_asked_for(encoder):
    texts = [f"{word} {other}" for word in WORDS for other in WORDS]
    assert centroids(encoder, texts, 3).shape == (3, TEACHER_WIDTH)
    assert (centroids(encoder, texts, 1) == [centroid(encoder, texts)]).all()


def test_blank_texts_are_left_out(encoder):
    expected = centroid(encoder, ["a river"])
    assert (centroid(encoder, ["", "a river", " \n"]) == expected).all()


@pytest.mark.parametrize("texts", [[], ["", "  \n"]])
def test_no_text_is_an_error(encoder, texts):
    for made in (centroid, centroids):
        with pytest.raises(NoExamples) as refused:
            made(encoder, texts)
        assert str(refused.value) == (
            "a centroid needs at least one example text that is not blank"
        )


LARGE = "the centroid holds a value that is not a number of at most ±1e+06"
UNUSABLE = [
    ([1.0, 2.0], "the centroid has 2 values; the encoder makes 3"),
    ([], "the centroid has 0 values; the encoder makes 3"),
    ([[1.0, 2.0, 3.0]], "the centroid has 1×3 values; the encoder makes 3"),
    (4.0, "the centroid has 1 values; the encoder makes 3"),
    ([1.0, float("nan"), 0.0], LARGE),
    ([1.0, float("inf"), 0.0], LARGE),
    ([1.0, -1.001e6, 0.0], LARGE),
    ([1e300, 1e300, 1e300], LARGE),
    ([0.0, 0.0, 0.0], "the centroid is zero, so no cosine can be taken with it"),
    (["a", "b", "c"], "a centroid must be a list of numbers"),
    ([[1.0], [2.0, 3.0]], "a centroid must be a list of numbers"),
]


@pytest.mark.parametrize(("vector", "words"), UNUSABLE)
def test_unusable_vectors_are_refused(vector, words):
    with pytest.raises(InvalidCentroid) as refused:
        checked_centroid(vector, 3)
    assert str(refused.value) == words
    with pytest.raises(InvalidCentroid):
        checked_centroids([[1.0, 2.0, 3.0], vector], 3)


def test_usable_vectors_are_taken_as_they_are_in_double_precision():
    largest = checked_centroid([1e6, -1e6, 1e-300], 3)
    assert (largest.tolist(), largest.dtype) == ([1e6, -1e6, 1e-300], np.float64)
    assert checked_centroid([1, 2, 3], 3).dtype == np.float64
    assert checked_centroids([[1, 2], [3, 4]], 2).tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_ready_centroid_of_this_encoder_serves(encoder):
    ready = tuple(float(value) for value in range(TEACHER_WIDTH))
    data = RoutingData(examples=("a river",), centroids=(ready,), encoder=SPACE)
    assert centroid_of(encoder, data).tolist() == [list(ready)]


def test_all_ready_centroids_serve_and_each_is_checked(encoder):
    rows = tuple(map(tuple, np.eye(TEACHER_WIDTH)[:3].tolist()))
    data = RoutingData(centroids=rows, encoder=SPACE)
    assert centroid_of(encoder, data).tolist() == [list(row) for row in rows]
    with pytest.raises(InvalidCentroid, match="has 2 values"):
        centroid_of(encoder, RoutingData(centroids=(*rows, (1.0, 2.0)), encoder=SPACE))


def test_a_centroid_of_another_encoder_is_made_again_from_the_texts(encoder):
    stale = RoutingData(examples=("a river",), centroids=((1.0, 2.0),), encoder="another")
    assert (centroid_of(encoder, stale) == centroid(encoder, ["a river"])).all()
    described = RoutingData(description="Rivers.", centroids=((1.0, 2.0),), encoder=None)
    assert (centroid_of(encoder, described) == centroid(encoder, ["Rivers."])).all()


@pytest.mark.parametrize(
    ("made_by", "words"), [("another", "encoder 'another'"), (None, "no named encoder")]
)
def test_a_centroid_of_another_encoder_without_texts_is_refused(encoder, made_by, words):
    data = RoutingData(centroids=((1.0,) * TEACHER_WIDTH,), encoder=made_by)
    with pytest.raises(CentroidMismatch) as refused:
        centroid_of(encoder, data)
    assert str(refused.value) == (
        f"the centroid was made by {words}, but texts are compared in the space of {SPACE!r};"
        " give examples or a description, or make the centroid again"
    )


def test_examples_go_before_the_description_and_nothing_gives_none(encoder):
    data = RoutingData(examples=("a river",), description="Something else.")
    assert (centroid_of(encoder, data) == centroid(encoder, ["a river"])).all()
    assert centroid_of(encoder, RoutingData()) is None
    assert centroid_of(encoder, RoutingData(examples=(" ",), description="")) is None


READY = ((1.0,) * TEACHER_WIDTH,)


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (RoutingData(examples=("a", " "), description="b"), ("a", " ")),
        (RoutingData(examples=(" ",), description="b"), ("b",)),
        (RoutingData(description="\n"), ()),
        (RoutingData(), ()),
        (RoutingData(examples=("a",), centroids=READY, encoder=SPACE), ()),
        (RoutingData(examples=("a",), centroids=READY, encoder="another"), ("a",)),
        (RoutingData(examples=("a",), encoder=SPACE), ("a",)),
    ],
)
def test_the_texts_to_embed_are_the_examples_or_else_the_description(encoder, data, texts):
    assert texts_to_embed(encoder, data) == texts
