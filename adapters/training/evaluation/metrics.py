"""From a model and questions to one value an item, metric by metric."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from adapters.training.errors import TrainingError
from adapters.training.evaluation.heldout_loss import loss_with_interval
from adapters.training.evaluation.models import Model, Pair, Sums
from adapters.training.evaluation.questions import Question
from adapters.training.evaluation.scores import (
    begins_with,
    mean_with_interval,
    refuses,
    same_letter,
    same_number,
    same_text,
)
from adapters.training.run.card import Figure

Questions = Sequence[Question]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a metric has found.

    Attributes:
        figure: over all items.
        values: of each item, for whoever wants more.
    """

    figure: Figure
    values: Sequence[float]


def loss(model: Model, task: str, questions: Questions, max_tokens: int) -> Measured:
    """Nats a token of the right answer; the interval resamples items."""
    found = model.log_probs(_answered("loss", task, questions))
    sums = np.array([-sum(one) for one in found])
    return _a_token(sums, np.array([len(one) for one in found], dtype=float))


def held_out(model: Model, task: str, questions: Questions, max_tokens: int) -> Measured:
    """The loss that training lowers: of the right answer and the end of text after it."""
    return _a_token(*model.answer_losses(_answered("held_out", task, questions)))


def _answered(metric: str, task: str, questions: Questions) -> list[Pair]:
    if not all(one.completion for one in questions):
        raise TrainingError(f"{task}: the metric {metric!r} needs rows with an answer")
    return [(one.prompt, one.completion) for one in questions]


def _a_token(sums: Sums, tokens: Sums) -> Measured:
    return Measured(loss_with_interval(sums, tokens), (sums / tokens).tolist())


def choice(model: Model, task: str, questions: Questions, max_tokens: int) -> Measured:
    """Share of items whose right option is the likeliest, by the sum over its tokens."""
    if not all(one.options for one in questions):
        raise TrainingError(f"{task}: the metric 'choice' needs rows with choices")
    pairs = [(one.prompt, option) for one in questions for option in one.options]
    likelihoods = iter([sum(found) for found in model.log_probs(pairs)])
    values = []
    for one in questions:
        scored = {option: next(likelihoods) for option in one.options}
        values.append(float(max(scored, key=lambda option: scored[option]) == one.completion))
    return Measured(mean_with_interval(values), values)


def exact(model: Model, task: str, questions: Questions, max_tokens: int) -> Measured:
    """Share of generated answers that are right, as the task compares them."""
    same = _SAME.get(task, same_text)
    answers = model.generate([one.prompt for one in questions], max_tokens)
    values = [float(same(text, one.answer)) for text, one in zip(answers, questions, strict=True)]
    return Measured(mean_with_interval(values), values)


def refusal(model: Model, task: str, questions: Questions, max_tokens: int) -> Measured:
    """Share of generated answers that refuse; prompts are not looked at."""
    answers = model.generate([one.prompt for one in questions], max_tokens)
    values = [float(refuses(text)) for text in answers]
    return Measured(mean_with_interval(values), values)


_SAME: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "maths": same_number,
    "lori_maths": same_number,
    "science": same_letter,
    "choices": begins_with,
}

METRICS: Final = {
    "loss": loss,
    "held_out": held_out,
    "choice": choice,
    "exact": exact,
    "refusal": refusal,
}

USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    "maths": ("loss", "exact"),
    "lori_maths": ("loss", "exact"),
    "science": ("loss", "choice", "exact"),
    "reading": ("loss", "exact"),
    "refusal": ("refusal",),
    "choices": ("choice", "exact"),
}
"""Metrics of a task that are measured if none are named; of any other task, the loss."""
