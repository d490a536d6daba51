"""What is measured: models one after another, served ones or those in this process."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from adapters.training.evaluation.questions import Question

Pair = tuple[str, str]
"""A prompt, and what follows it."""

Sums = npt.NDArray[np.float64]
"""A number for each item [n]."""


BASE = "base"
"""The name of the base model without any adapter, which no adapter may have."""


class Model(Protocol):
    """One model, adapter, policy or merge."""

    name: str

    def log_probs(self, pairs: Sequence[Pair]) -> list[list[float]]:
        """Log-probabilities, in nats, of each token of what follows, given the prompt."""
        ...

    def answer_losses(self, pairs: Sequence[Pair]) -> tuple[Sums, Sums]:
        """Summed loss of each answer with its end of text, in nats, and its tokens [n] each.

        Raises:
            TrainingError: the model cannot score an end of text.
        """
        ...

    def generate(self, prompts: Sequence[str], max_tokens: int) -> list[str]:
        """Greedy answers."""
        ...


class Models(Protocol):
    """The models of one run.

    Attributes:
        where: the server's address, or the base model's public name.
        count: how many models there are.
        dtype: that the models compute in; None where a server decides.
        weights: adapter → SHA-256 of its weights, where they are known.
    """

    where: str
    count: int
    dtype: str | None
    weights: Mapping[str, str]

    def fits(self, question: Question, tokens: int) -> bool:
        """Whether prompt, answer and end of text fit into so many tokens.

        Raises:
            TrainingError: the models' tokenizer is elsewhere.
        """
        ...

    def __iter__(self) -> Iterator[Model]:
        """Each model in turn, for as long as the next is not asked for."""
        ...
