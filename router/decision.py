"""What the router decides for one prompt."""

from dataclasses import dataclass

from router.mixture import Mixture
from router.policies.options import Scope
from router.reweighing import Reweighing
from router.window import RoutingInput


@dataclass(frozen=True, slots=True)
class Following:
    """How the weights follow the answer; :mod:`server.engine.messages` has the other words for it.

    Attributes:
        reweighing: what weighs them again.
        spoken: the prompt that it reads, before the answer.
    """

    reweighing: Reweighing
    spoken: RoutingInput

    @property
    def scope(self) -> Scope:
        """``token`` or ``recompute``."""
        return self.reweighing.config.scope

    @property
    def stride(self) -> int:
        """Generated tokens from one weighing to the next."""
        return self.reweighing.config.stride


@dataclass(frozen=True, slots=True)
class RouteDecision:
    """A mixture and how it came about.

    Attributes:
        mixture: the mixture at the prompt.
        scores: the candidates' cosines; empty where the policy needs none.
        policy: the policy's name.
        policy_version: its version, with the request's changes.
        encode_ms: time that the embedding took, in milliseconds.
        weigh_ms: time that scores and weights took, in milliseconds.
        fallback: what answered instead of the policy (``base``, ``uniform``, an adapter), or None.
        text_window: the text that was embedded.
        following: how the weights follow the answer; None where they stay.
    """

    mixture: Mixture
    scores: dict[str, float]
    policy: str
    policy_version: str
    encode_ms: float
    weigh_ms: float
    fallback: str | None
    text_window: str
    following: Following | None = None
