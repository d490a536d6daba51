"""What is asked: the rows of a task file as questions with a known answer."""

import json
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from adapters.training.data import rows_of, template_of
from adapters.training.errors import TrainingError
from adapters.training.templates import Row


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


def read_questions(path: Path, task: str, limit: int) -> list[Question]:
    """The first so many questions of a file.

    Raises:
        TrainingError: the file cannot be read, or a row is wrong.
    """
    template = template_of(task)
    questions = []
    for row in rows_of(path, template)[:limit]:
        example = template.example(row)
        questions.append(Question(example.prompt, example.completion, _options(row)))
    return questions


def _options(row: Row) -> tuple[str, ...]:
    """Letters for a row with choices."""
    choices = row.get("choices")
    if not isinstance(choices, list):
        return ()
    return tuple(f" {letter}" for letter, _ in zip(ascii_uppercase, choices, strict=False))


def read_prompts(path: Path, limit: int) -> list[Question]:
    """Prompts without an answer, for refusals: JSON Lines with ``prompt``.

    Raises:
        TrainingError: the file cannot be read, or a line has no prompt.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"cannot read {path}: {error}") from None
    questions = []
    for number, line in enumerate(lines[:limit], start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise TrainingError(f"{path}, line {number}: not JSON: {error.msg}") from None
        prompt = row.get("prompt") if isinstance(row, dict) else None
        if not isinstance(prompt, str) or not prompt.strip():
            raise TrainingError(f"{path}, line {number}: field 'prompt' is missing")
        questions.append(Question(prompt, ""))
    if not questions:
        raise TrainingError(f"{path} is empty")
    return questions
