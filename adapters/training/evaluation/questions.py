"""What is asked: the rows of a task file as questions with a known answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from string import ascii_uppercase
from typing import Final

from adapters.training.data.examples import checked, rows_with_lines, template_of
from adapters.training.data.templates import Row, Template
from adapters.training.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Question:
    """One item.

    Attributes:
        prompt: in the task's form.
        completion: the right answer, as it follows the prompt.
        options: completions to choose from, the right one among them; none without a choice.
    """

    prompt: str
    completion: str
    options: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        """The right answer without blanks around it."""
        return self.completion.strip()


def read_questions(
    path: Path, task: str, limit: int, fits: Callable[[Question], bool] | None = None
) -> list[Question]:
    """The first so many questions of a file, or of those in it that fit.

    Raises:
        TrainingError: the file cannot be read, a row is wrong, or none fits.
    """
    form = FORMS.get(task) or partial(_by_template, template_of(task))
    rows = rows_with_lines(path)
    if fits is None:
        return [form(row, line) for line, row in rows[:limit]]
    asked = (form(row, line) for line, row in rows)
    found = list(islice((question for question in asked if fits(question)), limit))
    if not found:
        raise TrainingError(f"no item of {path} fits; raise --item-tokens")
    return found


def _by_template(template: Template, found: object, line: str) -> Question:
    row = checked(found, template, line)
    example = template.example(row)
    return Question(example.prompt, example.completion, _letters(row))


def _letters(row: Row) -> tuple[str, ...]:
    """Letters for a row with choices."""
    choices = row.get("choices")
    if not isinstance(choices, list):
        return ()
    return tuple(f" {letter}" for letter, _ in zip(ascii_uppercase, choices, strict=False))


def _prompt(found: object, line: str) -> Question:
    """A row with a prompt alone."""
    prompt = found.get("prompt") if isinstance(found, dict) else None
    if not isinstance(prompt, str) or not prompt.strip():
        raise TrainingError(f"{line}: field 'prompt' is missing")
    return Question(prompt, "")


def _choices(found: object, line: str) -> Question:
    """A row with a prompt, what may follow it, and which of that is right, counted from 0."""
    prompt = _prompt(found, line).prompt
    row = found if isinstance(found, dict) else {}
    choices, right = row.get("choices"), row.get("answer_index")
    if not isinstance(choices, list) or not all(isinstance(one, str) and one for one in choices):
        raise TrainingError(f"{line}: field 'choices' must be a list of texts")
    if len(set(choices)) < _LEAST or len(set(choices)) != len(choices):
        raise TrainingError(f"{line}: field 'choices' needs two or more, no two the same")
    if isinstance(right, bool) or not isinstance(right, int) or not 0 <= right < len(choices):
        raise TrainingError(f"{line}: field 'answer_index' must be from 0 to {len(choices) - 1}")
    options = tuple(one if one[0].isspace() else f" {one}" for one in choices)
    return Question(prompt, options[right], options)


_LEAST: Final = 2

FORMS: Final[Mapping[str, Callable[[object, str], Question]]] = {
    "refusal": _prompt,
    "choices": _choices,
}
"""Tasks that nothing is trained on, which have no template."""
