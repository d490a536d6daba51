"""From the engine's weighings and tokens of one prompt's answers to the request's recording."""

from collections import Counter
from collections.abc import Mapping

from router.decision import Following
from server.engine.messages import AdapterWeights
from server.traces.recording import Recording
from server.traces.trace import TraceStep


class TraceFeed:
    """Feeds a recording with one prompt's weighings and tokens. Any method in any thread.

    Args:
        recording: the request's.
        following: how the prompt's weights follow its answers.
        names: vLLM's id of an adapter → its name, for all that a weighing may hold.
        prompt: the prompt's number.
    """

    def __init__(
        self, recording: Recording, following: Following, names: Mapping[int, str], prompt: int
    ) -> None:
        self._recording = recording
        self._following = following
        self._names = names
        self._first = prompt * recording.head.choices
        self._tokens: Counter[int] = Counter()
        self._numbers: Counter[int] = Counter()

    def weighed(self, child: int, number: int, by_id: AdapterWeights) -> None:
        """Take a weighing: the sink of a :class:`server.engine.trace_channel.TraceReceiver`.

        Raises:
            ValueError: the request has no such choice, or knows no such adapter.
        """
        unknown = [adapter for adapter, _ in by_id if adapter not in self._names]
        if unknown:
            raise ValueError(f"adapters {unknown} are none of this request's")
        weights = {self._names[adapter]: weight for adapter, weight in by_id}
        self._recording.add(
            number * self._following.stride,
            weights,
            choice=self._first + child,
            base_share=self._share(weights),
        )
        self._numbers[child] = max(number, self._numbers[child])

    def is_behind(self, child: int) -> bool:
        """Whether the weighing that made a choice's last token has not arrived yet."""
        last = max(0, self._tokens[child] - 1)
        return self._numbers[child] < last // self._following.stride

    def generated(self, child: int, tokens: int) -> None:
        """Take how many tokens a choice has by now."""
        self._tokens[child] = tokens
        self._recording.generated(tokens, choice=self._first + child)

    def steps(self, child: int, first: int, count: int) -> list[TraceStep]:
        """What each of some tokens of a choice got, as far as is known."""
        return self._recording.steps(first, count, choice=self._first + child)

    def _share(self, weights: Mapping[str, float]) -> float:
        """The base model's share: the policy's own, but for a fallback, which takes all."""
        share = self._following.reweighing.config.base_share
        return share if sum(weights.values()) < 1 - share / 2 else 0.0
