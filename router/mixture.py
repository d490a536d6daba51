"""The mixture: which adapters a request gets, in which shares, combined by which rule.

It is the one value that the router makes, the server carries and the engine applies. A mixture of
weights ``w_k`` over adapters with updates ``ΔW_k = s_k B_k A_k`` (``s_k = lora_alpha / r``) means

    cat            W + Σ_k w_k s_k B_k A_k                        (the exact weighted sum)
    linear         W + (Σ_j √(w_j s_j) B_j)(Σ_i √(w_i s_i) A_i)   (PEFT ≥ 0.9 ``linear``)
    linear_peft04  W + (Σ_j B_j)(Σ_i w_i s_i A_i)                 (PEFT 0.4 – 0.6 ``linear``)

A share of the base model is weight that no adapter gets: it scales nothing else.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Combination = Literal["cat", "linear", "linear_peft04"]
COMBINATIONS: tuple[Combination, ...] = get_args(Combination)

WEIGHT_DECIMALS = 6
"""Weights are rounded to this many decimals, so that equal cache keys mean equal gates. One
embedding gives one weight wherever it is weighed, but a transformer's embedding has noise of its
own, by which a weight on the edge of a step falls to either side; a step of 1e-6 is not felt."""


@dataclass(frozen=True, slots=True)
class Member:
    """One adapter's part in a mixture: its name, the digest of its content, its weight (≥ 0)."""

    name: str
    digest: str
    weight: float


@dataclass(frozen=True, slots=True)
class Mixture:
    """Adapters with weights, ordered by falling weight, then digest. No members: the base model.

    ``policy`` and ``policy_version`` say which rule made it; both are None for explicit mixtures.
    """

    members: tuple[Member, ...] = ()
    base_share: float = 0.0
    combination: Combination = "cat"
    policy: str | None = None
    policy_version: str | None = None

    @classmethod
    def of(
        cls,
        members: Iterable[Member],
        *,
        base_share: float = 0.0,
        combination: Combination = "cat",
        policy: str | None = None,
        policy_version: str | None = None,
    ) -> "Mixture":
        """Round the weights, drop those that round to zero, merge nothing, order canonically.

        Raises:
            ValueError: a weight is negative or not finite, or an adapter is named twice.
        """
        kept: list[Member] = []
        seen: set[str] = set()
        for member in members:
            if not math.isfinite(member.weight) or member.weight < 0:
                raise ValueError(
                    f"weight of adapter {member.name!r} is {member.weight}; it must be a number ≥ 0"
                )
            if member.name in seen:
                raise ValueError(f"adapter {member.name!r} is named twice in one mixture")
            seen.add(member.name)
            weight = round(member.weight, WEIGHT_DECIMALS)
            if weight > 0:
                kept.append(Member(member.name, member.digest, weight))
        kept.sort(key=lambda m: (-m.weight, m.digest, m.name))
        return cls(
            tuple(kept), round(base_share, WEIGHT_DECIMALS), combination, policy, policy_version
        )

    @property
    def is_base(self) -> bool:
        """Whether no adapter takes part."""
        return not self.members

    @property
    def weights(self) -> dict[str, float]:
        """Adapter name → weight, heaviest first."""
        return {member.name: member.weight for member in self.members}


BASE_MODEL = Mixture()
"""The mixture of a request that wants the base model alone."""
