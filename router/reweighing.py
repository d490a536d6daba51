"""Re-weighing: what turns an embedding into a request's mixture, apart from the router's state.

A request of scope ``token`` or ``recompute`` takes one with it: the policy as it was when the
request came, and the centroids of the adapters that it leased. The workers weigh by it again every
few tokens, so its wire form is plain values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from router.centroids.index import Entry, IndexSnapshot, built
from router.choice import Choice, View, choose, choose_each, mixture_of
from router.mixture import Mixture
from router.policies import PolicyConfig
from router.policies.config import parse_policy
from router.policies.options import heaviest


@dataclass(frozen=True, slots=True)
class Reweighing:
    """A policy over a fixed set of adapters.

    Attributes:
        policy: the policy's name.
        config: the policy with the request's changes.
        names: the candidates [n], in order of their names.
        snapshot: their centroids, and the fallback adapter if there is one.
        limit: the most members of a mixture, or None. A fallback adapter has a place beside them.
    """

    policy: str
    config: PolicyConfig
    names: tuple[str, ...]
    snapshot: IndexSnapshot
    limit: int | None = None

    @classmethod
    def over(
        cls,
        view: View,
        names: tuple[str, ...],
        scores: npt.NDArray[np.float64],
        config: PolicyConfig,
        policy: str,
        limit: int | None,
    ) -> "Reweighing":
        """The policy over the ``limit`` best of the candidates at the prompt.

        Policies weigh higher scores higher, so that the prompt's mixture is the same as over all,
        to the last bit. A fallback adapter takes one of the places.
        """
        fallback = config.fallback if view.has(config.fallback) else None
        most = limit if limit is None or fallback is None else max(1, limit - 1)
        kept = tuple(names[position] for position in heaviest(scores, most))
        needed = (*kept, fallback) if fallback is not None and fallback not in kept else kept
        entries = {name: view.snapshot.entries[name] for name in needed}
        return cls(policy, config, kept, built(entries), most)

    @property
    def digests(self) -> tuple[str, ...]:
        """Every adapter that a mixture of it may hold."""
        return tuple(entry.digest for entry in self.snapshot.entries.values())

    def mixture(self, embedding: npt.NDArray[np.floating] | None) -> Mixture:
        """The mixture for an embedding [d]; None if there is nothing to embed."""
        return self.mixtures([embedding])[0]

    def chosen(self, embedding: npt.NDArray[np.floating]) -> tuple[Choice, Mixture]:
        """The mixture for an embedding [d], and the choice that it comes from."""
        view = View(self.snapshot)
        (choice,) = self._chosen(view, embedding[None])
        return choice, mixture_of(choice, view, self.config, self.policy)

    def mixtures(self, embeddings: Sequence[npt.NDArray[np.floating] | None]) -> list[Mixture]:
        """The mixtures for embeddings [d], each as if it were alone; None for nothing to embed."""
        view = View(self.snapshot)
        spoken = [embedding for embedding in embeddings if embedding is not None]
        chosen = iter(self._chosen(view, np.stack(spoken)) if spoken else ())
        return [
            mixture_of(
                choose(self.config, self.names, None, self.limit) if one is None else next(chosen),
                view,
                self.config,
                self.policy,
            )
            for one in embeddings
        ]

    def _chosen(self, view: View, embeddings: npt.NDArray[np.floating]) -> list[Choice]:
        scores = view.scores(embeddings, self.names, self.limit)
        return choose_each(self.config, self.names, scores, self.limit)

    def to_wire(self) -> dict[str, Any]:
        """Plain values that :meth:`from_wire` reads; centroids as fp32 bytes."""
        return {
            "policy": self.policy,
            "config": {**self.config.model_dump(mode="json"), "kind": self.config.kind},
            "names": list(self.names),
            "limit": self.limit,
            "entries": {
                name: _entry_to_wire(entry) for name, entry in self.snapshot.entries.items()
            },
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "Reweighing":
        """The same from its wire form."""
        entries = {name: _entry_from_wire(entry) for name, entry in wire["entries"].items()}
        return cls(
            wire["policy"],
            parse_policy(wire["policy"], wire["config"]),
            tuple(wire["names"]),
            built(entries),
            wire["limit"],
        )


def _entry_to_wire(entry: Entry) -> dict[str, Any]:
    if entry.rows is None or entry.norms is None:
        return {"digest": entry.digest}
    return {
        "digest": entry.digest,
        "rows": np.ascontiguousarray(entry.rows, dtype=np.float32).tobytes(),
        "norms": entry.norms.tolist(),
    }


def _entry_from_wire(wire: Mapping[str, Any]) -> Entry:
    if "rows" not in wire:
        return Entry(wire["digest"])
    norms = np.array(wire["norms"], dtype=np.float64)
    rows = np.frombuffer(wire["rows"], dtype=np.float32).reshape(len(norms), -1)
    return Entry(wire["digest"], rows, norms)
