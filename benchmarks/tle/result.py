"""Speeds of systems that decode the same thing, and their ratios to the reference loop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

AIMS: Mapping[int, float] = MappingProxyType({1: 20.0, 8: 120.0, 32: 300.0})
"""How many times the reference's speed is aimed at, by the number of requests at once."""


@dataclass(frozen=True)
class Result:
    """One system under one load.

    Attributes:
        system: what it is called in the table.
        requests: how many ask at once.
        tokens: new tokens in all.
        seconds: from the first request's start to the last one's end.
        parts: where the seconds went, where that is known.
    """

    system: str
    requests: int
    tokens: int
    seconds: float
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def tokens_per_s(self) -> float:
        """New tokens a second, over all requests."""
        return self.tokens / self.seconds


def ratio(result: Result, reference: Result) -> float:
    """How many times as fast as the reference.

    The reference answers one request after another, since it can merge one mixture at a time: its
    speed for many requests is that for one.
    """
    return result.tokens_per_s / reference.tokens_per_s


def ratio_table(
    reference: Result,
    others: Sequence[Result] = (),
    aims: Mapping[int, float] = AIMS,
) -> str:
    """A Markdown table: tokens a second, and the ratio to the reference at as many requests.

    Args:
        reference: the reference loop, measured with one request.
        others: what is compared with it, in the order of the rows.
        aims: the ratio aimed at, by the number of requests at once.
    """
    lines = [
        "| system | requests at once | tokens/s | times the reference | aim |",
        "|---|---|---|---|---|",
    ]
    for result in (reference, *others):
        aim = aims.get(result.requests) if result is not reference else None
        lines.append(
            f"| {result.system} | {result.requests} | {result.tokens_per_s:.2f} | "
            f"{ratio(result, reference):.1f} | {'' if aim is None else f'≥ {aim:g}'} |"
        )
    return "\n".join(lines)


def parts_table(reference: Result) -> str:
    """A Markdown table: where the reference's time goes, in seconds a token."""
    lines = ["| part of the reference | s a token |", "|---|---|"]
    for part, seconds in reference.parts.items():
        lines.append(f"| {part} | {seconds / reference.tokens:.3f} |")
    return "\n".join(lines)
