"""All to the best score.

    w_m = 1 for m = argmax_k s_k (the first on ties), 0 elsewhere

Source: nearest-centroid classification (Rocchio 1971); what servers call routing to one adapter.

Invariant: exactly one weight is 1.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from router.policies.base import PolicyConfig, Vector


class NearestPolicy(PolicyConfig):
    """The one adapter whose centroid is nearest."""

    kind: Literal["nearest"] = "nearest"

    def weigh(self, scores: Vector, names: Sequence[str], most: int | None = None) -> Vector:
        """One-hot weights [..., n]; no ``most`` takes any away."""
        weights = np.zeros_like(scores)
        np.put_along_axis(weights, scores.argmax(axis=-1, keepdims=True), 1.0, -1)
        return weights
