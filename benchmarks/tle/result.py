"""Speeds of systems that decode the same thing, and their ratios.

The machine drifts, so all systems take turns: a round goes through the answer in stretches of equal
length, and every system decodes one stretch before any goes on to the next. Ratios are taken
within a round; then the median over the rounds counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import harmonic_mean, median
from typing import Any

from benchmarks.tle.loop import Seconds
from benchmarks.tle.variants import REFERENCE, Aim


@dataclass
class Speeds:
    """Tokens a second of each stretch, over all requests: (system, requests) → rounds → stretches.

    The reference makes one request at a time, whatever their number, since it can merge one mixture
    at a time: it is measured again beside each number of requests.
    """

    of: dict[tuple[str, int], list[list[float]]] = field(default_factory=dict)

    def add(self, system: str, requests: int, place: int, tokens_per_s: float) -> None:
        """Take in one stretch; round by round, ``place`` counts the rounds from 0."""
        rounds = self.of.setdefault((system, requests), [])
        if place == len(rounds):
            rounds.append([])
        rounds[place].append(tokens_per_s)

    @property
    def loads(self) -> list[int]:
        """Numbers of requests at once."""
        return sorted({requests for _, requests in self.of})

    def loads_of(self, system: str) -> list[int]:
        """Numbers of requests at once that a system was measured with."""
        return [requests for requests in self.loads if (system, requests) in self.of]

    @property
    def systems(self) -> list[str]:
        """What was measured, in order."""
        return list(dict.fromkeys(system for system, _ in self.of))

    def whole(self, system: str, requests: int) -> list[float]:
        """Tokens a second of the whole answer, round by round."""
        # Stretches are of one length, so that this is all tokens over all seconds.
        return [harmonic_mean(stretches) for stretches in self.of[system, requests]]

    def speed(self, system: str, requests: int) -> float:
        """Tokens a second of the whole answer: the median over the rounds."""
        return median(self.whole(system, requests))

    def ratio(self, system: str, versus: str, requests: int) -> float:
        """How many times as fast over the whole answer: within a round, then the median."""
        pairs = zip(self.whole(system, requests), self.whole(versus, requests), strict=True)
        return median(ours / theirs for ours, theirs in pairs)

    def ratio_of_stretches(self, system: str, versus: str, requests: int) -> float:
        """The same within each stretch, then the median: less what only the first one costs."""
        rounds = zip(self.of[system, requests], self.of[versus, requests], strict=True)
        return median(
            ours / theirs
            for ours_round, their_round in rounds
            for ours, theirs in zip(ours_round, their_round, strict=True)
        )

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> "Speeds":
        """From the plain values of a file."""
        return cls({(row["system"], row["requests"]): row["tokens_per_s"] for row in rows})

    def as_rows(self) -> list[dict[str, Any]]:
        """Plain values for a file."""
        return [
            {"system": system, "requests": requests, "tokens_per_s": rounds}
            for (system, requests), rounds in self.of.items()
        ]


def figures(speeds: Speeds) -> dict[str, dict[str, dict[str, float]]]:
    """What documentation quotes: system → requests at once → tokens a second, times the reference.

    Both are of the whole answer.
    """
    return {
        "whole_tokens_per_s": {
            system: {str(n): speeds.speed(system, n) for n in speeds.loads_of(system)}
            for system in speeds.systems
        },
        "times_reference": {
            system: {str(n): speeds.ratio(system, REFERENCE, n) for n in speeds.loads_of(system)}
            for system in speeds.systems
        },
    }


def table(speeds: Speeds) -> str:
    """A Markdown table: tokens a second; in brackets how many times the reference."""
    heads = [f"{n} request{'s' if n > 1 else ''}" for n in speeds.loads]
    lines = ["| system | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for system in speeds.systems:
        cells = [_cell(speeds, system, requests) for requests in speeds.loads]
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(speeds: Speeds, system: str, requests: int) -> str:
    if (system, requests) not in speeds.of:
        return "–"
    ratio = speeds.ratio(system, REFERENCE, requests)
    return f"{speeds.speed(system, requests):.2f} ({ratio:.0f})"


@dataclass(frozen=True)
class Reached:
    """What became of an aim at one number of requests."""

    title: str
    requests: int
    whole: float
    stretches: float
    aim: float


def reached(speeds: Speeds, aims: Sequence[Aim]) -> list[Reached]:
    """The aims whose systems and loads were measured."""
    return [
        Reached(
            f"{aim.title} / {aim.versus}",
            requests,
            speeds.ratio(aim.title, aim.versus, requests),
            speeds.ratio_of_stretches(aim.title, aim.versus, requests),
            at_least,
        )
        for aim in aims
        for requests, at_least in aim.at_least.items()
        if {(aim.title, requests), (aim.versus, requests)} <= speeds.of.keys()
    ]


def aims_table(found: Sequence[Reached]) -> str:
    """A Markdown table of the aims."""
    lines = [
        "| aim | requests | whole answer | median of stretches | aimed at | reached |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        digits = 2 if one.aim < 10 else 0
        lines.append(
            f"| {one.title} | {one.requests} | {one.whole:.{digits}f} | "
            f"{one.stretches:.{digits}f} | ≥ {one.aim:g} | "
            f"{'yes' if one.whole >= one.aim else '**no**'} |"
        )
    return "\n".join(lines)


def parts_table(spent: Seconds, tokens: int) -> str:
    """A Markdown table: where the reference's time goes, in seconds a token."""
    parts = {
        "embedding and weighing": spent.embed,
        "merging": spent.merge,
        "running the prefix": spent.prefix,
    }
    lines = ["| part of the reference | s a token |", "|---|---|"]
    lines += [f"| {part} | {seconds / tokens:.3f} |" for part, seconds in parts.items()]
    return "\n".join(lines)
