"""The plain softmax with a temperature.

    w_k = exp(s_k / T) / Σ_j exp(s_j / T)

T → 0 is ``nearest``, T → ∞ is ``uniform``. Cosines of one encoder lie within a few tenths of each
other, so a T near 0.05 decides and a T near 0.2 blends. Source: Boltzmann's distribution, the usual
gate of mixtures of experts (Jordan and Jacobs 1994).

Invariant: weights are ≥ 0 and sum to 1; a higher score never weighs less.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from router.policies.base import PolicyConfig, Vector, softmax


class SoftmaxPolicy(PolicyConfig):
    """Softmax of the scores over a temperature."""

    kind: Literal["softmax"] = "softmax"
    temperature: float = Field(default=0.05, ge=1e-6, le=1000, allow_inf_nan=False)

    def weigh(self, scores: Vector, names: Sequence[str], most: int | None = None) -> Vector:
        """Weights [..., n] = softmax(scores / temperature)."""
        return softmax(scores / self.temperature, most)
