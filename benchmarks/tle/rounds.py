"""The rounds: our engine and the reference loop in turn, stretch by stretch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from benchmarks.child_process import Child
from benchmarks.tle.loop import ReferenceLoop, Seconds
from benchmarks.tle.prompts import prompts
from benchmarks.tle.result import Speeds
from benchmarks.tle.variants import REFERENCE, TOKEN, Variant

Item = TypeVar("Item")


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        variants: of our engine.
        loads: numbers of requests at once.
        rounds: how often the answer is gone through.
        tokens: of an answer.
        stretch: tokens from one system's turn to the next one's.
        reference: tokens that the reference makes of each stretch.
    """

    variants: Sequence[Variant]
    loads: Sequence[int]
    rounds: int
    tokens: int
    stretch: int
    reference: int

    @property
    def starts(self) -> range:
        """The first token of each stretch."""
        return range(0, self.tokens, self.stretch)

    @property
    def minutes(self) -> float:
        """About how long all rounds take on a quiet two-core machine."""
        seconds = 0.0
        for requests in self.loads:
            ours = sum(one.takes(requests) for one in self.variants)
            decoding = ours * self.stretch * (0.08 + 0.003 * requests)
            embedding = self.stretch * 0.015 * requests
            taking_up = ours * requests * (0.06 + 0.001 * self.tokens / 2)
            seconds += decoding + embedding + taking_up + 1.1 * (self.reference + 1)
        return 1.0 + self.rounds * len(self.starts) * seconds / 60

    def turns(self) -> Iterator[tuple[int, int, int, Variant | None]]:
        """(round, start, requests, variant) in order; no variant: the reference.

        Whose turn is first moves on, so that nobody always follows the same one.
        """
        number = 0
        for place in range(self.rounds):
            for start in self.starts:
                for requests in self.loads:
                    ours = [one for one in self.variants if one.takes(requests)]
                    systems: list[Variant | None] = [None, *ours]
                    for system in rotated(systems, number):
                        yield place, start, requests, system
                    number += 1


def rotated(items: Sequence[Item], by: int) -> list[Item]:
    """The same in order, beginning elsewhere."""
    first = by % len(items)
    return [*items[first:], *items[:first]]


@dataclass
class Runner:
    """Takes the turns and keeps what they gave.

    Attributes:
        child: our engine.
        loop: the reference.
        plan: what to do.
        spent: seconds of the reference's counted tokens.
        counted: how many those are.
    """

    child: Child
    loop: ReferenceLoop
    plan: Plan
    speeds: Speeds = field(default_factory=Speeds)
    spent: Seconds = field(default_factory=Seconds)
    counted: int = 0
    _begun: dict[int, list[int]] = field(default_factory=dict)

    def warm_up(self, advance: Callable[[], None] = lambda: None) -> None:
        """Everything once, in short."""
        for requests in self.plan.loads:
            for variant in self.plan.variants:
                if variant.takes(requests):
                    self._ours(variant, requests, 0, 4)
                    advance()

    def run(self, advance: Callable[[], None] = lambda: None) -> Speeds:
        """All rounds; ``advance`` is told of each turn."""
        for place, start, requests, variant in self.plan.turns():
            if variant is None:
                title, speed = REFERENCE, self._reference(requests, start)
            else:
                title = variant.title
                speed = self._ours(variant, requests, start, self.plan.stretch)
            self.speeds.add(title, requests, place, speed)
            advance()
        return self.speeds

    def _ours(self, variant: Variant, requests: int, start: int, tokens: int) -> float:
        answer = self.child.ask(
            {"policy": variant.name, "requests": requests, "start": start, "tokens": tokens}
        )
        if variant is TOKEN:
            self._begun[requests] = answer["answer"]
        return float(answer["tokens_per_s"])

    def _reference(self, requests: int, start: int) -> float:
        """The first tokens of the stretch: the shortest prefix, which favours the reference.

        It goes on from the answer of our stride 1; one token before the clock starts brings its
        weights back into the caches.
        """
        prompt = prompts(1)[0]
        begun = self._begun[requests][:start] if start else []
        self.loop.answer(prompt, 1, begun)
        seconds = self.loop.answer(prompt, self.plan.reference, begun).seconds
        self.spent += seconds
        self.counted += self.plan.reference
        return self.plan.reference / seconds.total


def faster(loops: Mapping[str, ReferenceLoop], begun: int, tokens: int = 2) -> str:
    """Which of the loops is the faster one with so much of an answer begun: they take turns."""
    seconds = dict.fromkeys(loops, 0.0)
    for turn in range(tokens + 1):
        for name, loop in loops.items():
            spent = loop.answer(prompts(1)[0], 1, range(1000, 1000 + begun)).seconds.total
            seconds[name] += spent if turn else 0.0  # the first one warms up
    return min(seconds, key=lambda name: seconds[name])
