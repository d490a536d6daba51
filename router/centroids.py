"""Centroids: where an adapter's texts lie in the encoder's space.

    c = (1/n) Σ_i e(x_i)

over the embeddings e of the adapter's n example texts, as in LoRA-TLE (arXiv 2311.10847). The mean
is not normalised again: a cosine does not see its length, and its length says how alike the
examples are.
"""

from collections.abc import Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from adapters.adapter import RoutingData
from router.encoders.base import Encoder
from router.errors import CentroidMismatch, InvalidCentroid, NoExamples
from router.index import LARGEST_VALUE

Vector = npt.NDArray[np.float64]

BATCH_SIZE = 8
"""Small, since requests that are being routed wait for a batch to end."""


def centroid(encoder: Encoder, texts: Sequence[str]) -> Vector:
    """Mean embedding [w] of the texts in the encoder's space. Blank texts are left out.

    Raises:
        NoExamples: no text has anything in it.
    """
    said = [text for text in texts if text.strip()]
    if not said:
        raise NoExamples("a centroid needs at least one example text that is not blank")
    total = np.zeros(encoder.dimension)
    remaining = iter(said)
    while batch := list(islice(remaining, BATCH_SIZE)):
        total += encoder.encode(batch).sum(axis=0, dtype=np.float64)
    return total[: encoder.space.dimension] / len(said)


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


def centroid_of(encoder: Encoder, data: RoutingData) -> Vector | None:
    """The centroid [w] that an adapter's routing data gives, or None if there is none.

    A ready centroid serves if it lies in the encoder's space. Otherwise the examples are embedded,
    or else the description.

    Raises:
        CentroidMismatch: a centroid of another encoder, and no text to make one from.
        InvalidCentroid: the ready centroid is no vector of the encoder's.
    """
    if data.centroid is not None and data.encoder == encoder.space.name:
        return checked_centroid(data.centroid, encoder.space.dimension)
    if any(text.strip() for text in data.examples):
        return centroid(encoder, data.examples)
    if data.description and data.description.strip():
        return centroid(encoder, [data.description])
    if data.centroid is not None:
        made_by = "no named encoder" if data.encoder is None else f"encoder {data.encoder!r}"
        raise CentroidMismatch(
            f"the centroid was made by {made_by}, but texts are compared in the space of"
            f" {encoder.space.name!r}; give examples or a description, or make the centroid again"
        )
    return None
