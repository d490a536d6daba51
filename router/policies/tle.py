"""The rule of LoRA-TLE: the best score is multiplied, then a softmax over all.

    m = argmax_k s_k        (the first on ties)
    w = softmax(s'/T),      s'_m = M · s_m,  s'_k = s_k for k ≠ m

with M = ``max_temperature`` (4.0 in the source) and T = ``temperature`` (1.0: not in the source).
Source: Belofsky, "Token-Level Adaptation of LoRA Adapters", arXiv 2311.10847.

Where every score is negative the source's rule lowers the best one, which then weighs least. With
``guard_negative`` a negative best score stays as it is; without it the rule is the source's own.

Invariant: weights are positive and sum to 1; guarded, the best score has the largest weight.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from router.policies.base import PolicyConfig, Vector, softmax


class TlePolicy(PolicyConfig):
    """LoRA-TLE's weights."""

    kind: Literal["tle"] = "tle"
    max_temperature: float = Field(default=4.0, ge=1, le=1000, allow_inf_nan=False)
    temperature: float = Field(default=1.0, ge=1e-6, le=1000, allow_inf_nan=False)
    guard_negative: bool = True

    def weigh(self, scores: Vector, names: Sequence[str], most: int | None = None) -> Vector:
        """Weights [..., n] by ``tle_weights``."""
        return tle_weights(
            scores,
            most,
            max_temperature=self.max_temperature,
            temperature=self.temperature,
            guard_negative=self.guard_negative,
        )


def tle_weights(
    scores: Vector,
    most: int | None = None,
    *,
    max_temperature: float = 4.0,
    temperature: float = 1.0,
    guard_negative: bool = True,
) -> Vector:
    """LoRA-TLE's weights [..., n] of n ≥ 1 scores [..., n], or of the ``most`` heaviest of them."""
    logits = scores.copy()
    best = logits.argmax(axis=-1, keepdims=True)
    score = np.take_along_axis(logits, best, -1)
    factor = np.where((score > 0) | (not guard_negative), max_temperature, 1.0)
    np.put_along_axis(logits, best, score * factor, -1)
    return softmax(logits / temperature, most)
