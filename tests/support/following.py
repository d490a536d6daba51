"""Decisions whose weights follow the answer, made without an encoder."""

from router.centroids.index import Entry, built
from router.decision import Following, RouteDecision
from router.mixture import Member, Mixture
from router.policies.config import parse_policy
from router.reweighing import Reweighing
from router.window import RoutingInput


def follows(
    weights: dict[str, float],
    stride: int,
    *,
    scope: str = "token",
    others: tuple[str, ...] = (),
    base_share: float = 0.0,
) -> RouteDecision:
    """A decision of policy ``auto`` that begins with ``weights``; ``others`` may come in later."""
    options = {"scope": scope, "stride": stride, "base_share": base_share}
    config = parse_policy("auto", {"kind": "softmax", **options})
    names = (*weights, *others)
    snapshot = built({name: Entry(f"d-{name}") for name in names})
    made = Mixture.of(
        [Member(name, f"d-{name}", weight) for name, weight in weights.items()],
        base_share=base_share,
        policy="auto",
        policy_version=config.version,
    )
    following = Following(Reweighing("auto", config, names, snapshot), RoutingInput(text="said"))
    return RouteDecision(
        mixture=made,
        scores=dict.fromkeys(names, 0.5),
        policy="auto",
        policy_version=config.version,
        encode_ms=0.0,
        weigh_ms=0.0,
        fallback=None,
        text_window="said",
        following=following,
    )
