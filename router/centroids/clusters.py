"""Several centroids for an adapter whose examples are about many things.

    c_j = ½ (m̂ + ĉ_j)

halfway between the direction of all examples' mean m and that of one cluster's mean; the clusters
are those of k-means on embeddings of length 1 (Lloyd 1982, seeded by k-means++). One mean says
little about passages on any subject. Clusters say more, but of subjects that there are examples of;
the common direction, which a single mean has alone, is what texts on other subjects share.

Adapters are compared by the largest cosine, and the largest of many is larger. So each gets as many
centroids as bring its examples equally near: the fewest at which the mean cosine of an example to
the nearest one is ``COVERAGE``. Examples that are all alike keep their one mean.
``benchmarks/results/routing_accuracy.md`` has the figures.
"""

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

Rows = npt.NDArray[np.floating]
Vectors = npt.NDArray[np.float64]

COVERAGE = 0.5
COUNTS = (2, 3, 4, 6, 8, 12, 16)
EXAMPLES_EACH = 4
"""With fewer examples in a cluster, its mean is those examples rather than what they share."""

MOST_CLUSTERED = 2000
"""Examples that clusters are looked for in, so that 10,000 do not take a minute."""

_STARTS = 4
_SEED = 0
_SAME = 1e-5
"""Values of two embeddings of one text agree to this, whatever batch they were made in; those of
two texts do not, by far."""


def covering(rows: Rows) -> Vectors:
    """Centroids [p, w], 1 ≤ p ≤ 16, for embeddings [n, w] of length 1; no more than n / 4."""
    found = clustered(rows, 1)
    for count in COUNTS:
        if coverage(rows, found) >= COVERAGE or count * EXAMPLES_EACH > len(rows):
            break
        found = clustered(rows, count)
    return found


def clustered(rows: Rows, count: int) -> Vectors:
    """``count`` centroids [p, w] for embeddings [n, w]; fewer where not as many rows differ.

    One centroid is the mean itself, with the length that it has.
    """
    wide = rows.astype(np.float64)
    mean: Vectors = wide.mean(axis=0)
    if count == 1:
        return mean.reshape(1, -1)
    places = np.linspace(0, len(wide) - 1, min(len(wide), MOST_CLUSTERED)).round().astype(np.intp)
    chosen = wide[places]
    differing = _differing(chosen, count)
    if differing == 1:
        return mean.reshape(1, -1)
    # On one thread: sums are then always in one order, and no threads wait beside a busy engine.
    with threadpool_limits(limits=1, user_api="openmp"):
        fit = KMeans(differing, n_init=_STARTS, random_state=_SEED).fit(chosen)
    means = np.array([chosen[fit.labels_ == label].mean(axis=0) for label in set(fit.labels_)])
    halfway: Vectors = (_directions(means) + _directions(mean)) / 2
    return halfway


def _differing(rows: Vectors, most: int) -> int:
    """How many rows [n, w] differ from each other, counted up to ``most``.

    By their distances, not by rounding: of hundreds of values some lie on the edge of a step.
    """
    found = 0
    while len(rows) and found < most:
        rows = rows[np.abs(rows - rows[0]).max(axis=1) > _SAME]
        found += 1
    return found


def coverage(rows: Rows, centroids: Vectors) -> float:
    """Mean cosine of embeddings [n, w] of length 1 to the nearest of the centroids [p, w]."""
    return float((rows @ _directions(centroids).T).max(axis=1).mean())


def _directions(vectors: Vectors) -> Vectors:
    """The vectors at length 1; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    directions: Vectors = vectors / np.where(lengths > 0, lengths, 1.0)
    return directions
