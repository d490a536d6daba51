"""What can go wrong between a text and its mixture.

Every error carries a stable ``code``; the layer above decides what it means on the wire.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

NAMES_SHOWN = 12
PROBLEMS_SHOWN = 8
"""Of one policy, in one message."""


class RoutingError(Exception):
    """Anything the router refuses or cannot do."""

    code: ClassVar[str] = "routing_error"


class UnknownPolicy(RoutingError):
    """A policy was asked for that is not configured."""

    code = "unknown_policy"

    def __init__(self, policy: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no policy {policy!r}; known policies: {listed(known)}")
        self.policy = policy


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a policy.

    Attributes:
        field: as ``policies.auto.top_k``; empty if the fault has none.
        message: what is wrong.
        line: its line, counted from 1; None outside files.
    """

    field: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        """``line 7: policies.auto.top_k: must be at least 1``."""
        line = "" if self.line is None else f"line {self.line}: "
        return f"{line}{self.field}: {self.message}" if self.field else f"{line}{self.message}"


class InvalidPolicy(RoutingError):
    """A policy's configuration is wrong; ``problems`` says where and why, the first fault first."""

    code = "invalid_policy"

    def __init__(self, problems: Collection[Problem], source: str | None = None) -> None:
        prefix = "" if source is None else f"{source}: "
        more = len(problems) - PROBLEMS_SHOWN
        told = [str(problem) for problem in islice(problems, PROBLEMS_SHOWN)]
        super().__init__(prefix + "; ".join([*told, *([f"and {more} more"] if more > 0 else [])]))
        self.problems = tuple(problems)
        self.source = source

    @property
    def field(self) -> str | None:
        """The first field at fault, as ``policies.auto.top_k``; None if the fault has no field."""
        return self.problems[0].field or None

    @property
    def line(self) -> int | None:
        """The line of the first fault, counted from 1; None outside files."""
        return self.problems[0].line


class NoStaticEncoder(RoutingError):
    """A policy asks for the static encoder, and there is none for the base model and encoder.

    ``field`` is the policy's option at fault.
    """

    code = "no_static_encoder"
    field: ClassVar[str] = "encoder"

    def __init__(self, policy: str, encoder: str) -> None:
        super().__init__(
            f"policy {policy!r} asks for the static encoder, but there is none for this base model"
            f" that was distilled from {encoder!r}; make one by 'python -m router.distill' and"
            " name its folder, or use 'encoder: default'"
        )
        self.policy = policy


class NoCandidates(RoutingError):
    """The candidates' include and exclude lists leave no adapter to weigh."""

    code = "no_candidates"


class UnknownAdapterInPolicy(RoutingError):
    """A policy or a request's overrides name an adapter that is not there (or not visible)."""

    code = "unknown_adapter_in_policy"

    def __init__(self, adapter: str, policy: str, option: str) -> None:
        super().__init__(
            f"policy {policy!r} names adapter {adapter!r} in {option}, but there is no such"
            " adapter; add it or take the name out"
        )
        self.adapter = adapter
        self.policy = policy


class EncoderFailed(RoutingError):
    """The encoder could not be loaded, or could not encode."""

    code = "encoder_failed"


class InvalidCentroid(RoutingError):
    """A given centroid is not a vector that cosines can be taken with."""

    code = "invalid_centroid"
    field: ClassVar[str] = "centroids"


class CentroidMismatch(RoutingError):
    """A centroid was made by another encoder, and there is no text to make a new one from."""

    code = "centroid_mismatch"
    field: ClassVar[str] = "centroids"


class NoExamples(RoutingError):
    """A centroid was asked for from no text at all."""

    code = "no_examples"


class NoCentroid(RoutingError):
    """An adapter was named as a candidate that has nothing to be scored by."""

    code = "no_centroid"


def listed(names: Iterable[str]) -> str:
    """The names in order, cut short; ``none`` if there is none."""
    ordered = sorted(names)
    if not ordered:
        return "none"
    shown = ", ".join(ordered[:NAMES_SHOWN])
    more = len(ordered) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
