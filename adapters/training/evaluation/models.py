"""What a model has to be able to do to be measured; served and local ones can."""

from collections.abc import Sequence
from typing import Protocol

Pair = tuple[str, str]
"""A prompt, and what follows it."""


class Model(Protocol):
    """One model, adapter, policy or merge."""

    name: str

    def log_probs(self, pairs: Sequence[Pair]) -> list[list[float]]:
        """Log-probabilities, in nats, of each token of what follows, given the prompt."""
        ...

    def generate(self, prompts: Sequence[str], max_tokens: int) -> list[str]:
        """Greedy answers."""
        ...
