"""The same to every candidate.

    w_k = 1 / n

Source: plain averaging of adapters, the baseline that any routing has to beat.

Invariant: weights are equal and sum to 1, whatever the text.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from router.policies.base import Needs, PolicyConfig, Vector


class UniformPolicy(PolicyConfig):
    """Equal weights; the text is not looked at."""

    needs: ClassVar[Needs] = "candidates"
    refuses: ClassVar[frozenset[str]] = frozenset({"threshold", "window"})

    kind: Literal["uniform"] = "uniform"

    def weigh(self, scores: Vector, names: Sequence[str], most: int | None = None) -> Vector:
        """Weights [..., n], each 1 / n, or 1 / ``most`` for the first of them."""
        count = len(names) if most is None else min(most, len(names))
        weights = np.zeros(scores.shape)
        weights[..., :count] = 1.0 / count
        return weights
