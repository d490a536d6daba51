"""What is compared: fixed mixtures, and each policy in each scope and stride."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from router.centroids.index import IndexSnapshot
from router.mixture import BASE_MODEL, Member, Mixture

Scope = Literal["fixed", "prompt", "token", "recompute"]
BASE, UNIFORM, OWN = "base", "uniform", "own adapter (oracle)"


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the table: a mixture that never changes, or a policy with scope and stride."""

    title: str
    scope: Scope
    mixture: Mixture = BASE_MODEL
    policy: str = ""
    stride: int = 0


def fixed(snapshot: IndexSnapshot, names: Sequence[str]) -> list[Variant]:
    """The base model, each adapter alone, all of them at equal weights."""
    digests = snapshot.known

    def among(chosen: Sequence[str]) -> Mixture:
        return Mixture.of(Member(name, digests[name], 1 / len(chosen)) for name in chosen)

    return [
        Variant(BASE, "fixed"),
        *(Variant(name, "fixed", among([name])) for name in names),
        Variant(UNIFORM, "fixed", among(names)),
    ]


def prompt(policy: str) -> Variant:
    """The weights of the prompt, for the whole answer."""
    return Variant(f"{policy}, prompt", "prompt", policy=policy)


def token(policy: str, stride: int) -> Variant:
    """Weights anew every ``stride`` tokens; earlier tokens keep their keys and values."""
    return Variant(f"{policy}, token, stride {stride}", "token", policy=policy, stride=stride)


def recompute(policy: str, stride: int) -> Variant:
    """Weights anew every ``stride`` tokens; the whole prefix is run again under them."""
    title = f"{policy}, recompute, stride {stride}"
    return Variant(title, "recompute", policy=policy, stride=stride)
