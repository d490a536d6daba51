"""What a policy is: its options and knobs, and a rule from scores to weights."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from router.policies.options import Options, heaviest

Vector = npt.NDArray[np.float64]

Needs = Literal["scores", "candidates", "names"]
VERSION_LENGTH = 12


class PolicyConfig(Options, ABC):
    """One policy: a frozen value whose ``weigh`` is a pure function.

    Attributes:
        needs: what it weighs by: the ``scores`` of a text, the list of ``candidates``, or ``names``
            of its own. A policy that needs no scores never costs an encoding.
        refuses: the common options that would mean nothing for it.
        kind: its rule's name.
    """

    needs: ClassVar[Needs] = "scores"
    refuses: ClassVar[frozenset[str]] = frozenset()

    kind: str

    @abstractmethod
    def weigh(self, scores: Vector, names: Sequence[str], most: int | None = None) -> Vector:
        """Weights [..., n] ≥ 0 of n ≥ 1 adapters, from their scores [..., n] or their names.

        With ``most``, that many of the heaviest share what all would have, and the others have 0.
        The weights are then, to the last bit, what they are without the others. A policy that names
        its adapters itself keeps them all.
        """

    def named(self) -> tuple[str, ...]:
        """The adapters that the policy weighs, where it names them itself."""
        return ()

    @model_validator(mode="after")
    def _refuse_meaningless(self) -> "PolicyConfig":
        refused = self.model_fields_set & self.refuses
        if self.needs != "scores":  # its weights are the same whatever the text
            refused |= {"scope"} if self.scope != "prompt" else set()
            refused |= {"encoder"} if self.encoder != "default" else set()
        for option in sorted(refused):
            raise PydanticCustomError(
                "meaningless_option",
                "'{option}' means nothing for kind '{kind}'; take it out",
                {"option": option, "kind": self.kind},
            )
        return self

    @cached_property
    def version(self) -> str:
        """Short digest of everything that the weights depend on: the same for equal policies."""
        return self.version_among(None)

    def version_among(self, names: Collection[str] | None) -> str:
        """The version as it is told to whoever knows no adapters but these; None: all.

        It is the digest of what :meth:`options_among` gives: a digest of all options would let
        names be found out by trying.
        """
        content = self.options_among(names)
        content.pop("description")
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return sha256(canonical.encode()).hexdigest()[:VERSION_LENGTH]

    def options_among(self, names: Collection[str] | None) -> dict[str, Any]:
        """The options as they are told to whoever knows no adapters but these; None: all.

        Lists and weights lose the others. A fallback, and a weight above 0, are not looked at: a
        policy with one that is not known is not to be told of at all.
        """
        options = self.model_dump(mode="json")
        if names is None:
            return options
        options["candidates"] = {
            listed: None if given is None else [name for name in given if name in names]
            for listed, given in options["candidates"].items()
        }
        if "weights" in options:
            weights = options["weights"].items()
            options["weights"] = {name: weight for name, weight in weights if name in names}
        return options


def softmax(logits: Vector, most: int | None = None) -> Vector:
    """exp(x_k) / Σ_j exp(x_j) over the ``most`` largest of the last axis of [..., n], 0 elsewhere.

    Computed without overflow. Each power is taken for itself, as numpy's need not be, and their sum
    is rounded once: a weight depends on the logits that are kept, not on how many others there
    are or where they stand.
    """
    weights: Vector = np.zeros(logits.shape)
    for position in np.ndindex(logits.shape[:-1]):
        row = logits[position]
        kept = heaviest(row, most)
        powers = [math.exp(logit) for logit in (row[kept] - row.max()).tolist()]
        weights[(*position, kept)] = np.array(powers) / math.fsum(powers)
    return weights
