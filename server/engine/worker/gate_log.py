"""Which gates each token of a request gets, when its weights follow the answer.

With stride n, weighing number k reads the prompt and the first k·n generated tokens. Step t (the
one that predicts generated token t, t = 0 the first) uses weighing ⌊t / n⌋ (arXiv 2311.10847 has
n = 1; n = ∞ is one weighing for all). A row of the batch consumes one token:

    scope      a prompt token        generated token number i
    token      weighing 0            that of step i + 1
    recompute  that of the step which the whole prefix is run for, for every row

So the gates of a row depend on the prompt and the tokens before it alone, whatever the chunks,
the batch or a preemption make of the request.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from router.running_sum import RunningSum
from server.engine.messages import AdapterWeights, ReweighRequest

LOG_ATTRIBUTE: Final = "loralloy_log"
"""Attribute of vLLM's record of a request that holds its gate log: it outlives preemption, and goes
when the request does."""


@dataclass(slots=True)
class GateLog:
    """One request's weighings so far. It lives and dies with vLLM's own record of the request.

    Attributes:
        reweigh: how its weights follow the answer.
        weighings: their results, by number from 0.
        running: the sum that a static encoder's weighings grow from; None for another encoder's,
            and before the first.
    """

    reweigh: ReweighRequest
    weighings: list[AdapterWeights] = field(default_factory=list)
    running: RunningSum | None = None

    @classmethod
    def kept_on(cls, state: Any, reweigh: ReweighRequest, first: AdapterWeights) -> "GateLog":
        """The gate log of a request, made on first use.

        Args:
            state: the runner's record of the request.
            reweigh: how its weights follow the answer.
            first: its weights at the prompt, which the router has weighed already.
        """
        found = getattr(state, LOG_ATTRIBUTE, None)
        if not isinstance(found, cls):
            found = cls(reweigh, [first])
            setattr(state, LOG_ATTRIBUTE, found)
        return found

    def weighing_of(self, step: int) -> int:
        """The number of the weighing that a step uses."""
        return step // self.reweigh.stride

    def spans(
        self, first: int, count: int, prompt: int, generated: int
    ) -> Iterator[tuple[int, int]]:
        """The weighings of consecutive rows, as (weighing, rows).

        Args:
            first: position of the first row in the request.
            count: rows in this step.
            prompt: tokens of the prompt.
            generated: tokens generated so far.
        """
        if self.reweigh.scope == "recompute":
            yield self.weighing_of(generated), count
            return
        position, end = first, first + count
        while position < end:
            step = max(0, position - prompt + 1)
            number = self.weighing_of(step)
            # The first position whose step uses the next weighing.
            stop = min(end, prompt - 1 + (number + 1) * self.reweigh.stride)
            stop = max(stop, position + 1)
            yield number, stop - position
            position = stop
