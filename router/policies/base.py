"""What a policy is: its options and knobs, and a rule from scores to weights."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from router.policies.options import Options

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
    def weigh(self, scores: Vector, names: Sequence[str]) -> Vector:
        """Weights [..., n] ≥ 0 of n ≥ 1 adapters, from their scores [..., n] or their names."""

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
        content = self.model_dump(mode="json", exclude={"description"})
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return sha256(canonical.encode()).hexdigest()[:VERSION_LENGTH]


def softmax(logits: Vector) -> Vector:
    """exp(x_k) / Σ_j exp(x_j) over the last axis of [..., n], computed without overflow."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights: Vector = powers / powers.sum(axis=-1, keepdims=True)
    return weights
