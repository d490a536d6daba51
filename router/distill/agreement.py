"""How far the student's routing is from the teacher's, on samples that neither was trained on.

Both score the same samples by the same centroids. Top-1 agreement is the share of samples whose
best score is the same adapter's. The distance of the weights is Σ_k |w_k − w'_k|, from 0 (the same)
to 2 (nothing in common).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from router.centroids.index import CentroidIndex, IndexSnapshot
from router.choice import choose
from router.distill.texts import Sample, Topic
from router.encoders.static import StaticEncoder
from router.policies.config import default_policies

POLICIES = ("auto", "tle")
"""The bundled policies under which weights are compared."""

SHORT_TOKENS = 16

Rows = npt.NDArray[np.floating]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """The figures of one group of samples.

    Attributes:
        group: which samples.
        samples: how many.
        top_1: share with the same best adapter.
        weight_distance: policy → mean L1 distance of the weights.
        score_error: mean absolute difference of a cosine.
    """

    group: str
    samples: int
    top_1: float
    weight_distance: Mapping[str, float]
    score_error: float


def measured(
    student: StaticEncoder,
    samples: Sequence[Sample],
    teacher_rows: Rows,
    centroids: Mapping[str, Rows],
    topics: Sequence[Topic],
) -> list[Agreement]:
    """The figures by topic, by kind of sample, for short samples and for all.

    Args:
        student: the encoder that was made.
        samples: held-out samples [n].
        teacher_rows: the teacher's embeddings [n, w] of them.
        centroids: adapter → the teacher's centroid [w], or several [p, w].
        topics: what the samples' ``topic`` counts.
    """
    rows = [student.embedding(student.begin_ids(sample.ids)) for sample in samples]
    index = _index(centroids)
    scores = np.array([index.scores(row).cosines for row in rows])
    wanted = np.array([index.scores(row).cosines for row in teacher_rows])
    distances = {
        policy: np.abs(
            _weights(policy, index.names, scores) - _weights(policy, index.names, wanted)
        )
        for policy in POLICIES
    }
    kinds = np.array([sample.kind for sample in samples])
    topics_of = np.array([sample.topic for sample in samples])
    lengths = np.array([len(sample.ids) for sample in samples])
    groups = {topic.name: topics_of == number for number, topic in enumerate(topics)}
    groups |= {"whole texts": kinds == "whole", "prefixes": kinds == "prefix"}
    groups |= {"spans": kinds == "span", f"under {SHORT_TOKENS} tokens": lengths < SHORT_TOKENS}
    groups["all"] = np.full(len(samples), True)
    return [
        Agreement(
            group=group,
            samples=int(chosen.sum()),
            top_1=float((scores.argmax(1) == wanted.argmax(1))[chosen].mean()),
            weight_distance={
                policy: float(distance[chosen].sum(1).mean())
                for policy, distance in distances.items()
            },
            score_error=float(np.abs(scores - wanted)[chosen].mean()),
        )
        for group, chosen in groups.items()
        if chosen.any()
    ]


def table(figures: Sequence[Agreement]) -> str:
    """The figures as a Markdown table."""
    heads = ["samples", "count", "top-1", *(f"distance, `{name}`" for name in POLICIES), "cosine ±"]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for row in figures:
        cells = [f"{row.top_1:.3f}", *(f"{row.weight_distance[name]:.3f}" for name in POLICIES)]
        lines.append(
            f"| {row.group} | {row.samples} | {' | '.join(cells)} | {row.score_error:.3f} |"
        )
    return "\n".join(lines) + "\n"


def _index(centroids: Mapping[str, Rows]) -> IndexSnapshot:
    index = CentroidIndex()
    index.put_all((name, name, vector) for name, vector in centroids.items())
    return index.snapshot


def _weights(policy: str, names: tuple[str, ...], scores: Vector) -> Vector:
    """Weights [n, k] of n samples' scores [n, k]."""
    config = default_policies()[policy]
    weights = np.zeros_like(scores)
    for number, row in enumerate(scores):
        choice = choose(config, names, row)
        if choice.names:
            weights[number] = choice.weights
    return weights
