"""What the router decides for one prompt."""

from dataclasses import dataclass

from router.mixture import Mixture
from router.policies.options import Scope
from router.reweighing import Reweighing
from router.window import RoutingInput


@dataclass(frozen=True, slots=True)
class Following:
    """How the weights follow the answer: what weighs them again, and the prompt that it reads."""

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

    ``scores`` holds the candidates' cosines (empty where the policy needs none), ``fallback`` what
    answered in the policy's place (``base``, ``uniform``, an adapter) or None, ``text_window`` the
    text that was embedded. ``following`` is None where the weights stay. Times are in
    milliseconds.
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
