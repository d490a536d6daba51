"""The trace of one request while its answer is made: the engine tells it, the answer reads it."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING

from server.traces.trace import ChoiceTrace, Trace, TraceHead, TraceStep

if TYPE_CHECKING:
    from server.traces.store import TraceStore

_token_of = attrgetter("token")


@dataclass(slots=True)
class _Choice:
    """One answer while it is made. ``latest`` is known even where steps are left out."""

    latest: TraceStep
    tokens: int | None = None
    steps: list[TraceStep] = field(default_factory=list)


class Recording:
    """The trace of one request while its answer is made. Thread-safe.

    :meth:`server.traces.store.TraceStore.begin` makes it.

    Attributes:
        head: what was known beforehand.
        key: tenant and request id.
        size: steps that it holds.
        ended: when it finished, by the store's clock; None while it runs.
        truncated: whether steps were left out because there were too many.
    """

    def __init__(
        self, store: "TraceStore", tenant: str, head: TraceHead, first: Sequence[TraceStep]
    ) -> None:
        self.head = head
        self.key = (tenant, head.request_id)
        self.size = 0
        self.ended: float | None = None
        self.truncated = False
        self._store = store
        self._first = tuple(first)
        self._choices: dict[int, _Choice] = {}

    def add(
        self, token: int, weights: Mapping[str, float], *, choice: int = 0, base_share: float = 0.0
    ) -> None:
        """Weights from a token on. Said again of the same token, the last word counts.

        Args:
            token: number of the first generated token that they apply to, from 0.
            weights: adapter → weight; none: the base model alone.
            choice: number of the answer, prompt by prompt.
            base_share: the base model's share, where there are weights.

        Raises:
            ValueError: there is no such token or choice.
        """
        step = TraceStep(token, dict(weights), base_share if weights else 1.0)
        with self._store.lock:
            known = self._known(choice, token)
            if self.ended is None:
                self._put(known, step)

    def generated(self, tokens: int, *, choice: int = 0) -> None:
        """So many tokens of a choice there are by now.

        Raises:
            ValueError: there is no such number or choice.
        """
        with self._store.lock:
            self._known(choice, tokens).tokens = tokens

    def steps(self, first: int, count: int, *, choice: int = 0) -> list[TraceStep]:
        """What each of some tokens gets, as far as is known, one step a token."""
        with self._store.lock:
            known = self._known(choice, first)
            steps = [self._step_of(known, choice, token) for token in range(first, first + count)]
            return [
                TraceStep(first + place, step.weights, step.base_share)
                for place, step in enumerate(steps)
            ]

    def latest(self, *, choice: int = 0) -> TraceStep:
        """The newest step of a choice."""
        with self._store.lock:
            return self._known(choice, 0).latest

    def finish(self) -> None:
        """The answer has ended: keep the trace for a while. Nothing happens the second time."""
        self._store.finish(self)

    def discard(self) -> None:
        """Nobody will ask for this trace: forget it."""
        self._store.discard(self)

    @property
    def trace(self) -> Trace:
        """The trace as it is now."""
        with self._store.lock:
            return self.snapshot()

    def snapshot(self) -> Trace:
        """The trace; whoever calls holds the store's lock."""
        told = tuple(self._told(index) for index in range(self._expected))
        return Trace(self.head, told, self.ended is not None, self.truncated)

    def trim(self) -> int:
        """Drop steps beyond the last token; how many. Whoever calls holds the store's lock.

        Weights are computed ahead of a token that may never come: a stop string is only found
        after the engine has gone on.
        """
        before = self.size
        for known in self._choices.values():
            if known.tokens is not None:
                kept = bisect_left(known.steps, known.tokens, key=_token_of)
                self.size -= len(known.steps) - kept
                del known.steps[kept:]
        return before - self.size

    @property
    def _expected(self) -> int:
        return len(self._first) * self.head.choices

    def _first_of(self, choice: int) -> TraceStep:
        return self._first[choice // self.head.choices]

    def _put(self, known: _Choice, step: TraceStep) -> None:
        if step.token >= known.latest.token:
            known.latest = step
        place = bisect_left(known.steps, step.token, key=_token_of)
        if place < len(known.steps) and known.steps[place].token == step.token:
            known.steps[place] = step
        elif not self.truncated and self._store.take(self):
            known.steps.insert(place, step)
        else:
            # A gap would tell wrong weights: nothing that follows is kept either.
            self.truncated = True

    def _step_of(self, known: _Choice, choice: int, token: int) -> TraceStep:
        if token >= known.latest.token:
            return known.latest
        place = bisect_right(known.steps, token, key=_token_of)
        return known.steps[place - 1] if place else self._first_of(choice)

    def _known(self, choice: int, number: int) -> _Choice:
        if number < 0:
            raise ValueError(f"{number} is no number of tokens; they count from 0")
        if not 0 <= choice < self._expected:
            raise ValueError(f"there is no choice {choice}; the request has {self._expected}")
        if choice not in self._choices:
            self._choices[choice] = _Choice(self._first_of(choice))
        return self._choices[choice]

    def _told(self, index: int) -> ChoiceTrace:
        known = self._choices.get(index) or _Choice(self._first_of(index))
        steps = known.steps
        if not steps or steps[0].token > 0:
            steps = [self._first_of(index), *steps]
        return ChoiceTrace(index, index // self.head.choices, known.tokens, tuple(steps))
