"""What answers where a policy does not: the base model, all candidates alike, or one adapter.

A policy has no answer where there is no text, no score reaches its threshold, or every weight falls
short of ``min_weight``.
"""

from typing import Final

import numpy as np

from router.policies.options import Vector
from router.policies.uniform import UniformPolicy

BASE: Final = "base"
UNIFORM: Final = "uniform"


def fallback_weights(
    fallback: str, candidates: tuple[str, ...], most: int | None
) -> tuple[tuple[str, ...], Vector]:
    """Names [n] and weights [n] of what answers; none of them is the base model alone.

    Args:
        fallback: ``base``, ``uniform``, or an adapter's name.
        candidates: the adapters that the policy would have weighed.
        most: the most members that a mixture may have.
    """
    if fallback == BASE:
        return (), np.empty(0)
    if fallback == UNIFORM:
        weights = UniformPolicy().weigh(np.zeros(len(candidates)), candidates, most)
        return candidates, weights
    return (fallback,), np.ones(1)
