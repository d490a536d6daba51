"""One text form for each task, the same for training, for the centroid and when a prompt is served.

The forms follow LoRA-TLE (arXiv 2311.10847), whose own training and inference forms differed for
two tasks. Every prompt ends in ``Answer:`` and every completion begins with a blank, so that the
border between them is a border between tokens too. Those whose names begin with ``lori`` follow
LoRI's (arXiv 2504.07448), which ask in Alpaca's way; the authors' own have indentation in front of
every line, more of it in training than in evaluation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import ascii_uppercase

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Example:
    """What the model is given, and what it shall answer.

    Attributes:
        prompt: in the task's form.
        completion: what it shall answer, without the end-of-text token.
        rejected: what it shall not answer, where the task has such a thing.
    """

    prompt: str
    completion: str
    rejected: str | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """How a row of a task becomes an example.

    Attributes:
        fields: must be in every row, the answers among them.
        answer: the field that is learned.
        question: the prompt up to ``cue``.
        lists: fields that hold a list of strings; the others hold a string.
        rejected: field with the answer that is not wanted.
        cue: what the prompt ends in.
        answer_form: the answer's form, if it is another one than the field's.
    """

    fields: tuple[str, ...]
    answer: str
    question: Callable[[Row], str]
    lists: tuple[str, ...] = ()
    rejected: str | None = None
    cue: str = "Answer:"
    answer_form: Callable[[str], str] = str.strip

    @property
    def answers(self) -> tuple[str, ...]:
        """The fields that must not be blank."""
        return (self.answer,) if self.rejected is None else (self.answer, self.rejected)

    def example(self, row: Row) -> Example:
        """The example of one row, which must have the fields."""
        wanted, *rejected = (f" {self.answer_form(str(row[field]))}" for field in self.answers)
        return Example(f"{self.question(row)}\n\n{self.cue}", wanted, *rejected)


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


def _instruction(row: Row) -> str:
    given = str(row["input"]).strip()
    asked = f"### Instruction:\n{str(row['instruction']).strip()}"
    return f"{asked}\n\n### Input:\n{given}" if given else asked


def _reasoned(row: Row) -> str:
    return f"### Instruction:\n{str(row['question']).strip()}\nLet's think step by step."


def _final_answer(answer: str) -> str:
    """GSM8K's solution with its mark before the number put into words, as LoRI does."""
    return answer.strip().replace("#### ", "The final answer is: ")


_RESPONSE = "### Response:"

TEMPLATES: Mapping[str, Template] = {
    "maths": Template(("question", "answer"), "answer", _maths),
    "science": Template(("question", "choices", "answer"), "answer", _science, lists=("choices",)),
    "code": Template(("instruction", "input", "output"), "output", _code),
    "reading": Template(("context", "question", "answer"), "answer", _reading),
    "preference": Template(
        ("prompt", "chosen", "rejected"),
        "chosen",
        lambda row: str(row["prompt"]).strip(),
        rejected="rejected",
    ),
    "lori": Template(("instruction", "input", "output"), "output", _instruction, cue=_RESPONSE),
    "lori_maths": Template(
        ("question", "answer"), "answer", _reasoned, cue=_RESPONSE, answer_form=_final_answer
    ),
}
