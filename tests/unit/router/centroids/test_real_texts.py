"""Centroids of texts in the real encoder's space."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.centroids.centroid import BATCH_SIZE, centroid, centroids

WORDS = ["sum", "loop", "river", "why", "the capital of France", "x = [1, 2]", "photosynthesis"]


@settings(max_examples=12, deadline=None)
@given(texts=st.lists(st.sampled_from(WORDS), min_size=1, max_size=2 * BATCH_SIZE + 1))
def test_a_centroid_is_the_plain_mean_to_1e_6(encoder, texts):
    mean = np.mean([encoder.encode([text])[0].astype(np.float64) for text in texts], axis=0)
    np.testing.assert_allclose(centroid(encoder, texts), mean, atol=1e-6, rtol=0)


def test_a_centroid_is_not_normalised_again(encoder):
    assert np.linalg.norm(centroid(encoder, ["a river", "x = [1, 2]"])) < 0.9
    assert np.linalg.norm(centroid(encoder, ["a river"])) == pytest.approx(1, abs=1e-5)


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
