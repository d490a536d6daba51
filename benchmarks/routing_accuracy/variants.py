"""Ways to make centroids and to score by them, and the figures that tell them apart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans

from router.centroids.clusters import clustered, covering
from router.choice import choose
from router.policies.config import default_policies
from router.policies.softmax import SoftmaxPolicy

Rows = npt.NDArray[np.float64]
Made = Callable[[Rows], Rows]
Scored = Callable[[Rows], Rows]

COUNTS = (1, 4, 8, 16)
SOFT = 0.05
TEMPERATURES = (0.02, 0.03, 0.05, 0.08)


@dataclass(frozen=True, slots=True)
class Variant:
    """How centroids [p, w] are made of embeddings [n, w], and cosines [n, p] become scores [n]."""

    title: str
    made: Made
    scored: Scored


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one task's prompts.

    Attributes:
        top_1: share whose best score is the task's own adapter's.
        own: mean weight of that adapter under policy ``auto``.
        surprise: mean of −ln of its weight in a softmax over all scores, in nats, by temperature.
    """

    top_1: float
    own: float
    surprise: Mapping[float, float]


def variants() -> list[Variant]:
    """What is compared when choosing."""
    found = [
        Variant(f"{count} plain, {title}", partial(plain, count=count), scored)
        for count in COUNTS
        for title, scored in (
            ("max", largest),
            ("soft max", soft),
            ("mean of the best 2", best_two),
        )
        if count > 1 or scored is largest
    ]
    found += [
        Variant(f"{count} halfway, max", partial(clustered, count=count), largest)
        for count in COUNTS[1:]
    ]
    return [*found, Variant("halfway, as many as cover, max", covering, largest)]


def plain(rows: Rows, count: int) -> Rows:
    """The means [p, w] of k-means clusters, as they are."""
    if count == 1:
        mean: Rows = rows.mean(axis=0, keepdims=True)
        return mean
    labels = KMeans(count, n_init=4, random_state=0).fit(rows).labels_
    return np.array([rows[labels == label].mean(axis=0) for label in range(count)])


def largest(cosines: Rows) -> Rows:
    """What the index does."""
    best: Rows = cosines.max(axis=1)
    return best


def soft(cosines: Rows) -> Rows:
    """T · ln mean exp(s / T)."""
    smooth: Rows = SOFT * np.log(np.exp(cosines / SOFT).mean(axis=1))
    return smooth


def best_two(cosines: Rows) -> Rows:
    """Mean of the two largest."""
    mean: Rows = np.sort(cosines, axis=1)[:, -2:].mean(axis=1)
    return mean


def cosines(rows: Rows, centroids: Rows) -> Rows:
    """Cosines [n, p] of embeddings [n, w] of length 1."""
    found: Rows = rows @ (centroids / np.linalg.norm(centroids, axis=1, keepdims=True)).T
    return found


def figures(scores: Rows, names: Sequence[str], own: str) -> Figures:
    """The figures of prompts of task ``own`` with scores [n, k] for k adapters."""
    place = list(names).index(own)
    policy = default_policies()["auto"]
    chosen = [choose(policy, tuple(names), row) for row in scores]
    surprise = {}
    for temperature in TEMPERATURES:
        softmax = SoftmaxPolicy(temperature=temperature)
        weights = [softmax.weigh(row, names)[place] for row in scores]
        surprise[temperature] = float(-np.log(np.maximum(weights, 1e-12)).mean())
    return Figures(
        top_1=float((scores.argmax(axis=1) == place).mean()),
        own=float(np.mean([one.weights[place] for one in chosen])),
        surprise=surprise,
    )
