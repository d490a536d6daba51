"""From a policy and the adapters that a request may use to its mixture."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from router.centroids.index import IndexSnapshot
from router.errors import NoCandidates, NoCentroid, UnknownAdapterInPolicy
from router.mixture import Member, Mixture
from router.policies import PolicyConfig, options
from router.policies.fallback import BASE, UNIFORM, fallback_weights
from router.policies.options import Vector


@dataclass(frozen=True, slots=True)
class Choice:
    """Weights [n] of adapters by name, and what answered in the policy's place, if anything."""

    names: tuple[str, ...] = ()
    weights: Vector = field(default_factory=lambda: np.empty(0))
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class View:
    """The index as one request sees it.

    Adapters that are not in ``visible`` (None: all are) do not exist for it.
    """

    snapshot: IndexSnapshot
    visible: Collection[str] | None = None

    def has(self, name: str) -> bool:
        """Whether there is such an adapter for this request."""
        here = name in self.snapshot.entries
        return here and (self.visible is None or name in self.visible)

    def require(self, name: str, policy: str, option: str) -> str:
        """The name itself.

        Raises:
            UnknownAdapterInPolicy: there is no such adapter for this request.
        """
        if not self.has(name):
            raise UnknownAdapterInPolicy(name, policy, option)
        return name

    def require_scored(self, names: Iterable[str], policy: str) -> None:
        """Let names through that can be routed to.

        Raises:
            UnknownAdapterInPolicy: there is no such adapter for this request.
            NoCentroid: there is, but nothing to score it by.
        """
        for name in names:
            self.require(name, policy, "candidates.include")
            if self.snapshot.entries[name].rows is None:
                raise NoCentroid(
                    f"adapter {name!r} cannot be a candidate: it came without examples,"
                    " description or centroid, so there is nothing to score it by"
                )

    def candidates(self, config: PolicyConfig, policy: str) -> tuple[str, ...]:
        """The adapters [n] that a policy weighs, in order of their names.

        They are those that it names itself, or else those that have a centroid and that its lists
        let through.

        Raises:
            UnknownAdapterInPolicy: it names an adapter that this request does not have.
            NoCandidates: there are adapters to choose from, but the policy's lists leave none.
        """
        if config.needs == "names":
            return tuple(self.require(name, policy, "weights") for name in config.named())
        scored = self.snapshot.names
        if self.visible is not None:
            scored = tuple(name for name in scored if name in self.visible)
        if config.candidates == options.Candidates():
            return scored
        kept = config.candidates.through(scored)
        if scored and not kept:
            raise NoCandidates(
                f"the candidates of policy {policy!r} (include, exclude) leave no adapter;"
                f" without them there are {len(scored)}"
            )
        return kept

    def scores(
        self,
        embedding: npt.NDArray[np.floating],
        names: tuple[str, ...],
        most: int | None = None,
    ) -> Vector:
        """Cosines [..., n] of embeddings [..., d] to the named adapters.

        Args:
            embedding: the embeddings.
            names: the adapters.
            most: the most members that a mixture of them may have; None for no limit.
        """
        # One more than that: LoRA-TLE's rule as it stands can make the best one the lightest.
        decide = None if most is None else most + 1
        if len(names) == len(self.snapshot.names):
            return self.snapshot.scores(embedding, most=decide).cosines
        positions = {name: position for position, name in enumerate(self.snapshot.names)}
        among = [positions[name] for name in names]
        return self.snapshot.scores(embedding, among, decide).cosines


def choose(
    config: PolicyConfig, names: tuple[str, ...], scores: Vector | None, most: int | None = None
) -> Choice:
    """What a policy and its options give.

    Args:
        config: the policy.
        names: the candidates [n].
        scores: their scores [n]; None if there is no text, or the policy needs none.
        most: the most members that a mixture may have; a policy that names them keeps them all.
    """
    if scores is None:
        if names and config.needs == "scores":
            return _fallback(config.fallback, names, _limit(config, most))
        scores = np.zeros(len(names))
    return choose_each(config, names, scores[None], most)[0]


def choose_each(
    config: PolicyConfig, names: tuple[str, ...], scores: Vector, most: int | None = None
) -> list[Choice]:
    """What a policy and its options give for m texts, each as :func:`choose` does for one.

    Args:
        config: the policy.
        names: the candidates [n].
        scores: their scores [m, n].
        most: the most members that a mixture may have; a policy that names them keeps them all.
    """
    if not names:
        return [Choice(fallback=BASE)] * len(scores)
    limit = _limit(config, most)
    weights = options.at_least(config.weigh(scores, names, limit), config.min_weight)
    answers = [options.reaches(row, config.threshold) for row in scores]
    beside = options.beside_base(weights, config.base_share)
    return [
        Choice(names, beside[row])
        if answers[row] and weights[row].any()
        else _fallback(config.fallback, names, limit)
        for row in range(len(scores))
    ]


def mixture_of(choice: Choice, view: View, config: PolicyConfig, policy: str) -> Mixture:
    """The choice as the engine gets it; without members it is the base model.

    Raises:
        UnknownAdapterInPolicy: the fallback is an adapter that this request does not have.
    """
    if choice.fallback not in (None, BASE, UNIFORM):
        view.require(choice.fallback, policy, "fallback")
    entries = view.snapshot.entries
    members = [
        Member(name, entries[name].digest, weight)
        for name, weight in zip(choice.names, choice.weights.tolist(), strict=True)
        if weight
    ]
    return Mixture.of(
        members,
        base_share=config.base_share if members and choice.fallback is None else 0.0,
        combination=config.combination,
        policy=policy,
        policy_version=config.version,
    )


def _limit(config: PolicyConfig, most: int | None) -> int | None:
    return min((k for k in (config.top_k, most) if k is not None), default=None)


def _fallback(name: str, candidates: tuple[str, ...], most: int | None) -> Choice:
    return Choice(*fallback_weights(name, candidates, most), name)
