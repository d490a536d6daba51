"""Traces: which mixture made each token of an answer, as values and on the wire.

:mod:`server.traces.recording` collects one while an answer is made,
:mod:`server.traces.store` keeps them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from router.mixture import Combination, Mixture


@dataclass(frozen=True, slots=True)
class TraceStep:
    """The mixture from one generated token on.

    Attributes:
        token: number of the token, from 0, the first one that was generated.
        weights: adapter → weight.
        base_share: the base model's share.
    """

    token: int
    weights: Mapping[str, float]
    base_share: float = 0.0

    @classmethod
    def of(cls, token: int, mixture: Mixture) -> "TraceStep":
        """A mixture from a token on; without members all the share is the base model's."""
        return cls(token, mixture.weights, 1.0 if mixture.is_base else mixture.base_share)

    def as_json(self) -> dict[str, Any]:
        """The step on the wire."""
        return {"token": self.token, "weights": self.weights, "base_share": self.base_share}


@dataclass(frozen=True, slots=True)
class TraceHead:
    """What is known of a trace before the first token.

    Attributes:
        request_id: the request's id, as in the header ``X-Request-Id``.
        policy: the policy's name, or None.
        policy_version: its version, or None.
        scope: when weights are computed: ``token`` or ``recompute``.
        stride: tokens between two steps.
        combination: how updates are summed.
        adapters: names of all adapters that a step may weigh.
        choices: answers to each prompt (``n``).
        answer_id: what the answer carries as its ``id``; no other one has it.
    """

    request_id: str
    policy: str | None
    policy_version: str | None
    scope: str
    stride: int
    combination: Combination
    adapters: tuple[str, ...]
    choices: int = 1
    answer_id: str = field(default_factory=lambda: uuid4().hex)


@dataclass(frozen=True, slots=True)
class ChoiceTrace:
    """The steps of one answer, by rising token.

    Attributes:
        index: the choice's number; prompt by prompt, as in the answer.
        prompt: the number of its prompt.
        tokens: how many were generated so far; None if that is not known.
        steps: at least one, the first at token 0.
    """

    index: int
    prompt: int
    tokens: int | None
    steps: tuple[TraceStep, ...]

    def per_token(self, end: int) -> Iterator[TraceStep]:
        """What each of the tokens before ``end`` got."""
        following = [*(step.token for step in self.steps[1:]), end]
        for step, until in zip(self.steps, following, strict=True):
            for token in range(step.token, min(until, end)):
                yield TraceStep(token, step.weights, step.base_share)


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace as it is now.

    Attributes:
        head: what was known beforehand.
        choices: every answer of the request.
        finished: whether the answer has ended.
        truncated: whether steps were left out because there were too many.
    """

    head: TraceHead
    choices: tuple[ChoiceTrace, ...]
    finished: bool
    truncated: bool

    def end_of(self, choice: ChoiceTrace) -> int:
        """How many tokens of a choice have known weights."""
        last = choice.steps[-1].token
        end = last + 1 if choice.tokens is None else choice.tokens
        return min(end, last + self.head.stride) if self.truncated else end

    def as_json(self, *, expand: bool = False) -> dict[str, Any]:
        """The trace on the wire; ``expand`` adds the weights of each token."""
        choices = []
        for choice in self.choices:
            entry: dict[str, Any] = {
                "index": choice.index,
                "prompt": choice.prompt,
                "tokens": choice.tokens,
                "steps": [step.as_json() for step in choice.steps],
            }
            if expand:
                each = choice.per_token(self.end_of(choice))
                entry["per_token"] = [step.as_json() for step in each]
            choices.append(entry)
        head = self.head
        return {
            "object": "trace",
            "id": head.request_id,
            "answer_id": head.answer_id,
            "policy": head.policy,
            "policy_version": head.policy_version,
            "scope": head.scope,
            "stride": head.stride,
            "combination": head.combination,
            "adapters": list(head.adapters),
            "finished": self.finished,
            "truncated": self.truncated,
            "choices": choices,
        }
