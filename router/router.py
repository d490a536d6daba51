"""The router: a request's text in, its mixture out.

    text → window → embedding → scores → policy → options → Mixture

Everything that changes while requests run (adapters, policies) is replaced whole, so that a request
sees one state from beginning to end.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from threading import Lock
from time import perf_counter
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from adapters.adapter import RoutingData
from router.centroids.centroid import centroid_of
from router.centroids.index import CentroidIndex, Centroids
from router.choice import View, choose, mixture_of
from router.decision import Following, RouteDecision
from router.encoders.base import Encoder
from router.encoders.static import StaticEncoder
from router.errors import NoStaticEncoder, UnknownPolicy
from router.policies import PolicyConfig
from router.policies.config import DEFAULT_POLICY, RoutingOverrides, check_policy_name, overridden
from router.reweighing import Reweighing
from router.window import RoutingInput, embedding_of, stretches


class Router:
    """Encoder, index and policies together. Thread-safe.

    Args:
        encoder: what embeds the texts, and spans the space of the centroids.
        index: the adapters and their centroids.
        policies: by name; ``auto`` is what a request gets that names none.
        max_members: the most adapters of one mixture, whatever a policy's ``top_k`` (a fixed
            merge keeps its own); None for no limit.
        static: what embeds for policies of ``encoder: static``, into the same space; None if there
            is none.

    Raises:
        NoStaticEncoder: a policy asks for one, but there is none, or it is of another space.
    """

    def __init__(
        self,
        encoder: Encoder,
        index: CentroidIndex,
        policies: Mapping[str, PolicyConfig],
        *,
        max_members: int | None = None,
        static: StaticEncoder | None = None,
    ) -> None:
        self.encoder = encoder
        self.static = static if static is not None and static.space == encoder.space else None
        self.index = index
        self._policies = MappingProxyType(dict(policies))
        self._max_members = max_members
        for name, policy in policies.items():
            self.encoder_for(policy, name)
        self._lock = Lock()

    @property
    def policies(self) -> Mapping[str, PolicyConfig]:
        """The policies as they are now, by name."""
        return self._policies

    def policy(self, name: str) -> PolicyConfig:
        """One policy.

        Raises:
            UnknownPolicy: there is none of that name.
        """
        try:
            return self._policies[name]
        except KeyError:
            raise UnknownPolicy(name, self._policies) from None

    def encoder_for(self, policy: PolicyConfig, name: str) -> Encoder:
        """What embeds for a policy.

        Raises:
            NoStaticEncoder: it asks for the static encoder, and there is none.
        """
        if policy.encoder == "default":
            return self.encoder
        if self.static is None:
            raise NoStaticEncoder(name, self.encoder.name)
        return self.static

    def put_policy(self, name: str, policy: PolicyConfig) -> None:
        """Add or replace one policy; requests under way keep the one they began with.

        Raises:
            InvalidPolicy: the name has a wrong form.
            NoStaticEncoder: it asks for the static encoder, and there is none.
        """
        check_policy_name(name)
        self.encoder_for(policy, name)
        with self._lock:
            self._policies = MappingProxyType({**self._policies, name: policy})

    def remove_policy(self, name: str) -> bool:
        """Take one policy out; False if it was not there."""
        with self._lock:
            kept = {key: policy for key, policy in self._policies.items() if key != name}
            found = len(kept) < len(self._policies)
            self._policies = MappingProxyType(kept)
            return found

    def add_adapter(self, name: str, digest: str, data: RoutingData | None = None) -> bool:
        """Add or replace one adapter; False if it has nothing to be scored by.

        Such an adapter can be named (by a fixed merge, as a fallback), but is never routed to.

        Raises:
            CentroidMismatch: its centroid is another encoder's, and it has no text.
            InvalidCentroid: its centroid is no vector of the encoder's.
        """
        centroid = None if data is None else centroid_of(self.encoder, data)
        self.index.put(name, digest, centroid)
        return centroid is not None

    def add_adapters(self, adapters: Iterable[tuple[str, str, Centroids | None]]) -> None:
        """Add or replace many adapters at once, as at start-up: all of them or, on an error, none.

        Args:
            adapters: each one's name, digest and centroids, as
                :func:`router.centroids.centroid.centroid_of` gives them.

        Raises:
            InvalidCentroid: not finite vectors of one width with a length.
        """
        self.index.put_all(adapters)

    def remove_adapter(self, name: str) -> bool:
        """Take one adapter out; False if it was not there."""
        return self.index.remove(name)

    def route(
        self,
        spoken: RoutingInput | str,
        policy: str = DEFAULT_POLICY,
        overrides: RoutingOverrides | None = None,
        visible: Collection[str] | None = None,
        told: Collection[str] | None = None,
    ) -> RouteDecision:
        """The mixture for a text.

        Args:
            spoken: the request's messages or text.
            policy: the policy's name.
            overrides: what this request changes of it.
            visible: names of the adapters that there are for this request; None for all.
            told: names of the adapters that the policy's version may tell of; None for all.

        Raises:
            UnknownPolicy: there is no such policy.
            InvalidPolicy: the overrides do not fit the policy.
            UnknownAdapterInPolicy: a named adapter is not there, or not visible.
            NoCandidates: the include and exclude lists leave no adapter.
            NoCentroid: the request includes an adapter that has nothing to be scored by.
            NoStaticEncoder: the request asks for the static encoder, and there is none.
            EncoderFailed: the text could not be embedded.
        """
        config = self.policy(policy)
        view = View(self.index.snapshot, visible)
        if overrides is not None:
            config = overridden(config, overrides)
            if overrides.candidates is not None:
                view.require_scored(overrides.candidates.include or (), policy)
        names = view.candidates(config, policy)
        prompt = RoutingInput(text=spoken) if isinstance(spoken, str) else spoken
        started = perf_counter()
        embedding, text = None, ""
        if names and config.needs == "scores":
            embedding, text = _embed(prompt, config, self.encoder_for(config, policy))
        embedded = perf_counter()
        scores = None if embedding is None else view.scores(embedding, names, self._max_members)
        if embedding is None or scores is None or config.scope == "prompt":
            following = None
            choice = choose(config, names, scores, self._max_members)
            mixture = mixture_of(choice, view, config, policy)
        else:  # by what the workers weigh with, so that they begin where the server does
            again = Reweighing.over(view, names, scores, config, policy, self._max_members)
            following = Following(again, prompt)
            choice, mixture = again.chosen(embedding)
        version = config.version if told is None else config.version_among(told)
        return RouteDecision(
            mixture=replace(mixture, policy_version=version),
            scores={} if scores is None else dict(zip(names, scores.tolist(), strict=True)),
            policy=policy,
            policy_version=version,
            encode_ms=(embedded - started) * 1e3,
            weigh_ms=(perf_counter() - embedded) * 1e3,
            fallback=choice.fallback,
            text_window=text,
            following=following,
        )


def _embed(
    prompt: RoutingInput, config: PolicyConfig, encoder: Encoder
) -> tuple[npt.NDArray[np.float32] | None, str]:
    """The embedding [d] of the policy's window and its text; None if nothing is said."""
    parts = stretches(prompt, config.window, encoder)
    embedding = embedding_of(parts, encoder) if parts else None
    return embedding, "\n".join(parts)
