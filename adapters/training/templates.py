"""One text form for each task, the same for training, for the centroid and when a prompt is served.

The forms follow LoRA-TLE (arXiv 2311.10847), whose own training and inference forms differed for
two tasks. Every prompt ends in ``Answer:`` and every completion begins with a blank, so that the
border between them is a border between tokens too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import ascii_uppercase

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Example:
    """What the model is given, and what it shall say (without the end-of-text token)."""

    prompt: str
    completion: str


@dataclass(frozen=True, slots=True)
class Template:
    """How a row of a task becomes an example.

    ``fields`` must be in every row, ``answer`` among them; ``lists`` are those that hold a list of
    strings, the others hold a string.
    """

    fields: tuple[str, ...]
    answer: str
    question: Callable[[Row], str]
    lists: tuple[str, ...] = ()

    def example(self, row: Row) -> Example:
        """The example of one row, which must have the fields."""
        return Example(f"{self.question(row)}\n\nAnswer:", f" {str(row[self.answer]).strip()}")


def _maths(row: Row) -> str:
    return f"Question: {row['question']}"


def _science(row: Row) -> str:
    choices = row["choices"] if isinstance(row["choices"], list) else []
    lettered = (f"{letter}. {text}" for letter, text in zip(ascii_uppercase, choices, strict=False))
    return "\n".join([f"Question: {row['question']}", "Choices:", *lettered])


def _code(row: Row) -> str:
    given = str(row["input"]).strip()
    return f"{row['instruction']}\nInput: {given}" if given else str(row["instruction"])


def _reading(row: Row) -> str:
    return f"Context:\n{row['context']}\n\nQuestion: {row['question']}"


TEMPLATES: Mapping[str, Template] = {
    "maths": Template(("question", "answer"), "answer", _maths),
    "science": Template(("question", "choices", "answer"), "answer", _science, lists=("choices",)),
    "code": Template(("instruction", "input", "output"), "output", _code),
    "reading": Template(("context", "question", "answer"), "answer", _reading),
}
