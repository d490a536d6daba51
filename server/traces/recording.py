"""The trace of one request while its answer is made: the engine fills it, the answer reads it."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Protocol

from server.traces.budget import TraceBudget
from server.traces.trace import ChoiceTrace, Trace, TraceHead, TraceStep

_token_of = attrgetter("token")


@dataclass(slots=True)
class _Choice:
    """One answer while it is made.

    Attributes:
        latest: its newest step, which is known even where steps are left out.
        tokens: how many were generated so far; None until the engine has said so.
        steps: those that are kept, by rising token.
    """

    latest: TraceStep
    tokens: int | None = None
    steps: list[TraceStep] = field(default_factory=list)


class Keeper(Protocol):
    """What becomes of a recording whose answer has ended: the store decides."""

    def finish(self, recording: "Recording") -> None:
        """Keep it for a while. Nothing happens the second time."""

    def discard(self, recording: "Recording") -> None:
        """Forget it."""


class Recording:
    """The trace of one request while its answer is made. Thread-safe.

    :meth:`server.traces.store.TraceStore.begin` makes it.

    Args:
        budget: what its steps are counted by, and its lock.
        keeper: whoever keeps it once the answer has ended.
        tenant: whose it is.
        head: what is known beforehand.
        first: each prompt's mixture at token 0.

    Attributes:
        head: what was known beforehand.
        key: tenant and request id.
        answer_key: tenant and the answer's id.
        size: steps that it holds.
        ended: when it finished, by the keeper's clock; None while it runs.
        truncated: whether steps were left out because there were too many.
    """

    def __init__(
        self,
        budget: TraceBudget,
        keeper: Keeper,
        tenant: str,
        head: TraceHead,
        first: Sequence[TraceStep],
    ) -> None:
        self.head = head
        self.key = (tenant, head.request_id)
        self.answer_key = (tenant, head.answer_id)
        self.size = 0
        self.ended: float | None = None
        self.truncated = False
        self._budget = budget
        self._keeper = keeper
        self._first = tuple(first)
        self._choices: dict[int, _Choice] = {}

    def add(
        self, token: int, weights: Mapping[str, float], *, choice: int = 0, base_share: float = 0.0
    ) -> None:
        """Weights from a token on. Given twice for one token, the later ones count.

        Args:
            token: number of the first generated token that they apply to, from 0.
            weights: adapter → weight; none: the base model alone.
            choice: number of the answer, prompt by prompt.
            base_share: the base model's share, where there are weights.

        Raises:
            ValueError: there is no such token or choice.
        """
        step = TraceStep(token, dict(weights), base_share if weights else 1.0)
        with self._budget.lock:
            known = self._known(choice, token)
            if self.ended is None:
                self._put(known, step)

    def generated(self, tokens: int, *, choice: int = 0) -> None:
        """So many tokens of a choice there are by now.

        Raises:
            ValueError: there is no such number or choice.
        """
        with self._budget.lock:
            self._known(choice, tokens).tokens = tokens

    def steps(self, first: int, count: int, *, choice: int = 0) -> list[TraceStep]:
        """What each of some tokens gets, as far as is known, one step a token."""
        with self._budget.lock:
            known = self._known(choice, first)
            steps = [self._step_of(known, choice, token) for token in range(first, first + count)]
            return [
                TraceStep(token, step.weights, step.base_share)
                for token, step in enumerate(steps, first)
            ]

    def latest(self, *, choice: int = 0) -> TraceStep:
        """The newest step of a choice."""
        with self._budget.lock:
            return self._known(choice, 0).latest

    def finish(self) -> None:
        """The answer has ended: keep the trace for a while. Nothing happens the second time."""
        self._keeper.finish(self)

    def discard(self) -> None:
        """Nobody will ask for this trace: forget it."""
        self._keeper.discard(self)

    @property
    def trace(self) -> Trace:
        """The trace as it is now."""
        with self._budget.lock:
            return self.snapshot()

    def snapshot(self) -> Trace:
        """The trace; whoever calls holds the budget's lock."""
        choices = tuple(self._choice_trace(index) for index in range(self._expected))
        return Trace(self.head, choices, self.ended is not None, self.truncated)

    def trim(self) -> None:
        """Drop steps beyond the last token. Whoever calls holds the budget's lock.

        Weights are computed ahead of a token that may never come: a stop string is only found
        after the engine has gone on.
        """
        for known in self._choices.values():
            if known.tokens is not None:
                kept = bisect_left(known.steps, known.tokens, key=_token_of)
                dropped = len(known.steps) - kept
                del known.steps[kept:]
                self.size -= dropped
                self._budget.give_back(dropped)

    @property
    def _expected(self) -> int:
        return len(self._first) * self.head.choices

    def _first_of(self, choice: int) -> TraceStep:
        return self._first[choice // self.head.choices]

    def _put(self, known: _Choice, step: TraceStep) -> None:
        if step.token >= known.latest.token:
            known.latest = step
        position = bisect_left(known.steps, step.token, key=_token_of)
        if position < len(known.steps) and known.steps[position].token == step.token:
            known.steps[position] = step
        elif not self.truncated and self._budget.take(self.size):
            known.steps.insert(position, step)
            self.size += 1
        else:
            # A gap would show wrong weights: nothing that follows is kept either.
            self.truncated = True

    def _step_of(self, known: _Choice, choice: int, token: int) -> TraceStep:
        if token >= known.latest.token:
            return known.latest
        position = bisect_right(known.steps, token, key=_token_of)
        return known.steps[position - 1] if position else self._first_of(choice)

    def _known(self, choice: int, number: int) -> _Choice:
        if number < 0:
            raise ValueError(f"{number} is no number of tokens; they count from 0")
        if not 0 <= choice < self._expected:
            raise ValueError(f"there is no choice {choice}; the request has {self._expected}")
        if choice not in self._choices:
            self._choices[choice] = _Choice(self._first_of(choice))
        return self._choices[choice]

    def _choice_trace(self, index: int) -> ChoiceTrace:
        known = self._choices.get(index) or _Choice(self._first_of(index))
        steps = known.steps
        if not steps or steps[0].token > 0:
            steps = [self._first_of(index), *steps]
        return ChoiceTrace(index, index // self.head.choices, known.tokens, tuple(steps))
