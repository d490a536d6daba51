"""A named merge: the weights that the configuration gives.

    w_k = given

They need not sum to 1: LoRI (arXiv 2504.07448) merges its adapters at 0.3 each, and weights of 1
add whole updates.

Invariant: weights are as given, whatever the text and whichever other adapters there are.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from router.policies.base import Needs, PolicyConfig, Vector
from router.policies.options import MAX_NAMES, Name

Weight = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]


class FixedPolicy(PolicyConfig):
    """The given weights; the text is not looked at."""

    needs: ClassVar[Needs] = "names"
    refuses: ClassVar[frozenset[str]] = frozenset(
        {"candidates", "window", "threshold", "fallback", "top_k", "min_weight"}
    )

    kind: Literal["fixed"] = "fixed"
    weights: dict[Name, Weight] = Field(min_length=1, max_length=MAX_NAMES)

    @field_validator("weights")
    @classmethod
    def _some_weight(cls, weights: dict[str, float]) -> dict[str, float]:
        if not any(weights.values()):
            raise ValueError("at least one weight must be above 0")
        return weights

    def named(self) -> tuple[str, ...]:
        """The adapters with a weight above 0, in order of their names."""
        return tuple(sorted(name for name, weight in self.weights.items() if weight > 0))

    def weigh(self, scores: Vector, names: Sequence[str], most: int | None = None) -> Vector:
        """The given weights of the named adapters [..., n]; 0 for those without one."""
        given = np.array([self.weights.get(name, 0.0) for name in names])
        return np.broadcast_to(given, scores.shape)
