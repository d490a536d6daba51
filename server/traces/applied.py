"""What one prompt got: its mixture, and the decision that made it."""

from dataclasses import dataclass
from typing import Any

from router.decision import Following, RouteDecision
from router.mixture import Combination, Mixture
from server.traces.trace import TraceStep

HEADER = "X-Loralloy-Mixture"
"""Header of an answer that says which mixture made it."""

MAX_HEADER_CHARS = 1024
"""Longest value of the header; adapters beyond it are left out, lightest first."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What one prompt got.

    Attributes:
        mixture: the mixture at the prompt.
        decision: the router's, where a policy made the mixture.
    """

    mixture: Mixture
    decision: RouteDecision | None = None

    @property
    def following(self) -> Following | None:
        """How the weights follow the answer; None if they stay."""
        return None if self.decision is None else self.decision.following

    @property
    def members(self) -> tuple[tuple[str, str], ...]:
        """(name, digest) of every adapter that the answer may use."""
        if self.following is not None:
            return tuple(self.following.reweighing.snapshot.known.items())
        return tuple((member.name, member.digest) for member in self.mixture.members)

    @property
    def combination(self) -> Combination:
        """How its adapters are combined."""
        if self.following is not None:
            return self.following.reweighing.config.combination
        return self.mixture.combination

    def as_json(self) -> dict[str, Any]:
        """The ``mixture`` object of an answer; where weights follow it, those at the prompt."""
        fields = self._fields(TraceStep.of(0, self.mixture))
        if self.decision is not None:
            fields["scores"] = {k: round(v, 4) for k, v in self.decision.scores.items()}
            fields["fallback"] = self.decision.fallback
        return fields

    def at(self, step: TraceStep) -> dict[str, Any]:
        """The ``mixture`` object of one token, without what is known of the prompt alone."""
        return {**self._fields(step), "token": step.token}

    def as_header(self) -> str:
        """``maths=0.7;code=0.3, combination=cat, policy=auto@1a2b3c``; ``base=1`` for the base."""
        mixture = self.mixture
        shares = [f"{name}={weight:g}" for name, weight in mixture.weights.items()]
        if mixture.is_base:
            shares = ["base=1"]
        elif mixture.base_share:
            shares.append(f"base={mixture.base_share:g}")
        facts = [f"combination={mixture.combination}"]
        if mixture.policy is not None:
            facts.append(f"policy={mixture.policy}@{mixture.policy_version}")
        if self.following is not None:
            facts += [f"scope={self.following.scope}", f"stride={self.following.stride}"]
        rest = ", ".join(["", *facts])
        while len(";".join(shares)) + len(rest) > MAX_HEADER_CHARS:
            shares = [*shares[: len(shares) // 2], "..."]
        return ";".join(shares) + rest

    def _fields(self, step: TraceStep) -> dict[str, Any]:
        mixture = self.mixture
        fields: dict[str, Any] = {
            "adapters": step.weights,
            "base_share": step.base_share,
            "combination": mixture.combination,
            "policy": mixture.policy,
            "policy_version": mixture.policy_version,
            "scope": "prompt",
        }
        if self.following is not None:
            fields |= {"scope": self.following.scope, "stride": self.following.stride}
        return fields
