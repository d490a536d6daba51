"""Centroids: where an adapter's texts lie in the encoder's space.

    c = (1/n) Σ_i e(x_i)

over the embeddings e of the adapter's n example texts, as in LoRA-TLE (arXiv 2311.10847). The mean
is not normalised again: a cosine does not see its length, and its length says how alike the
examples are. Where they are about many things, several centroids serve
(:mod:`router.centroids.clusters`).
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from adapters.adapter import RoutingData
from router.centroids.clusters import clustered, covering
from router.centroids.index import LARGEST_VALUE, NORM_FLOOR
from router.encoders.base import Encoder
from router.errors import CentroidMismatch, InvalidCentroid, NoExamples

Vector = npt.NDArray[np.float64]

BATCH_SIZE = 8
"""Small, since requests that are being routed wait for a batch to end."""


def centroid(encoder: Encoder, texts: Sequence[str]) -> Vector:
    """Mean embedding [w] of the texts in the encoder's space. Blank texts are left out.

    Raises:
        NoExamples: no text has anything in it.
    """
    mean: Vector = _embedded(encoder, texts).mean(axis=0, dtype=np.float64)
    return mean[: encoder.space.dimension]


def centroids(encoder: Encoder, texts: Sequence[str], count: int | None = None) -> Vector:
    """Centroids [p, w] of the texts in the encoder's space. Blank texts are left out.

    Args:
        encoder: what embeds them.
        texts: an adapter's examples.
        count: how many, if enough texts differ; 1 is the mean. None: as many as bring the texts
            near enough to one.

    Raises:
        NoExamples: no text has anything in it.
    """
    return _centroids(_embedded(encoder, texts), encoder.space.dimension, count)


def centroids_of(batches: Sequence[npt.NDArray[np.float32]], encoder: Encoder) -> Vector:
    """The same [p, w] of texts that have been embedded, in batches [b, d] of at least one."""
    return _centroids(np.concatenate(batches), encoder.space.dimension, None)


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts, as many at a time as the encoder is given; blank ones are left out."""
    remaining = (text for text in texts if text.strip())
    return iter(lambda: list(islice(remaining, BATCH_SIZE)), [])


def _centroids(rows: npt.NDArray[np.float32], width: int, count: int | None) -> Vector:
    lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), NORM_FLOOR)
    unit = (rows / lengths)[:, :width]
    found = covering(unit) if count is None else clustered(unit, count)
    mean: Vector = rows.mean(axis=0, dtype=np.float64, keepdims=True)
    return found if len(found) > 1 else mean[:, :width]


def _embedded(encoder: Encoder, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Embeddings [n, d] of the texts that are not blank."""
    if not any(text.strip() for text in texts):
        raise NoExamples("a centroid needs at least one example text that is not blank")
    return np.concatenate([encoder.encode(batch) for batch in batches(texts)])


def checked_centroid(vector: Sequence[float] | Vector, dimension: int) -> Vector:
    """The vector [d] as float64.

    Raises:
        InvalidCentroid: it has another width, a value that is not finite, or no length.
    """
    try:
        checked = np.array(vector, dtype=np.float64)
    except (TypeError, ValueError) as err:
        raise InvalidCentroid("a centroid must be a list of numbers") from err
    if checked.shape != (dimension,):
        given = "×".join(str(size) for size in checked.shape) or "1"
        raise InvalidCentroid(f"the centroid has {given} values; the encoder makes {dimension}")
    if not (np.abs(checked) <= LARGEST_VALUE).all():
        raise InvalidCentroid(
            f"the centroid holds a value that is not a number of at most ±{LARGEST_VALUE:g}"
        )
    if not np.linalg.norm(checked) > 0:
        raise InvalidCentroid("the centroid is zero, so no cosine can be taken with it")
    return checked


def checked_centroids(vectors: Sequence[Sequence[float]], dimension: int) -> Vector:
    """The vectors as float64 [p, w].

    Raises:
        InvalidCentroid: one has another width, a value that is not finite, or no length.
    """
    return np.stack([checked_centroid(vector, dimension) for vector in vectors])


def centroid_of(encoder: Encoder, data: RoutingData) -> Vector | None:
    """The centroids [p, w] that an adapter's routing data give, or None if there are none.

    Ready centroids serve if they lie in the encoder's space. Otherwise the examples are embedded,
    or else the description.

    Raises:
        CentroidMismatch: centroids of another encoder, and no text to make one from.
        InvalidCentroid: a ready centroid is no vector of the encoder's.
    """
    if _is_ready(encoder, data):
        return checked_centroids(data.centroids, encoder.space.dimension)
    texts = texts_to_embed(encoder, data)
    if texts:
        return centroids(encoder, texts)
    if data.centroids:
        made_by = "no named encoder" if data.encoder is None else f"encoder {data.encoder!r}"
        raise CentroidMismatch(
            f"the centroid was made by {made_by}, but texts are compared in the space of"
            f" {encoder.space.name!r}; give examples or a description, or make the centroid again"
        )
    return None


def texts_to_embed(encoder: Encoder, data: RoutingData) -> tuple[str, ...]:
    """The texts that an adapter's centroids are made of; none if ready ones serve, or none are."""
    if _is_ready(encoder, data):
        return ()
    if any(text.strip() for text in data.examples):
        return data.examples
    return (data.description,) if data.description and data.description.strip() else ()


def _is_ready(encoder: Encoder, data: RoutingData) -> bool:
    return bool(data.centroids) and data.encoder == encoder.space.name
