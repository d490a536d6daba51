"""Training and held-out data: JSON Lines in, examples and token ids out."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.training.data.templates import TEMPLATES, Example, Row, Template
from adapters.training.errors import TrainingError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label of a token that the loss leaves out."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of prompt, completion, end of text; the first ``prompt_tokens`` bear no loss."""

    input_ids: tuple[int, ...]
    prompt_tokens: int

    @property
    def labels(self) -> list[int]:
        """The ids, with every token of the prompt ignored."""
        return [IGNORED] * self.prompt_tokens + list(self.input_ids[self.prompt_tokens :])


def read_examples(path: Path, task: str) -> list[Example]:
    """The examples of a JSON Lines file, by the template of ``task``; blank lines are passed over.

    Raises:
        TrainingError: the file cannot be read, is not UTF-8, is empty, or a line is wrong.
    """
    template = template_of(task)
    return [template.example(row) for row in rows_of(path, template)]


def rows_of(path: Path, template: Template) -> list[Row]:
    """The rows of a JSON Lines file, which have the fields of a template. Errors as above."""
    return [checked(row, template, line) for line, row in rows_with_lines(path)]


def rows_with_lines(path: Path) -> list[tuple[str, object]]:
    """File and line, for errors, of each row that is not blank, and the row as parsed.

    Raises:
        TrainingError: the file cannot be read, is not UTF-8, is empty, or a line is not JSON.
    """
    try:
        texts = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}") from error
    rows = [
        (line, _parsed(text, line))
        for number, text in enumerate(texts, start=1)
        if text.strip() and (line := f"{path}, line {number}")
    ]
    if not rows:
        raise TrainingError(f"{path} is empty: it needs a JSON object on each line")
    return rows


def template_of(task: str) -> Template:
    """The template of a task.

    Raises:
        TrainingError: there is no such task.
    """
    if task not in TEMPLATES:
        raise TrainingError(f"unknown task {task!r}; known are {', '.join(TEMPLATES)}")
    return TEMPLATES[task]


def _parsed(text: str, line: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise TrainingError(f"{line}: not JSON: {error.msg} (column {error.colno})") from error


def checked(row: object, template: Template, where: str) -> Row:
    """The row, if it has every field of the template, each of its kind.

    Raises:
        TrainingError: it has not; the message begins with ``where``.
    """
    if not isinstance(row, dict):
        raise TrainingError(f"{where}: a JSON object is needed, not {type(row).__name__}")
    for field in template.fields:
        if field not in row:
            raise TrainingError(
                f"{where}: field {field!r} is missing; needed are {', '.join(template.fields)}"
            )
        _check_kind(row[field], field, template, where)
    for field in template.answers:
        if not row[field].strip():
            raise TrainingError(f"{where}: field {field!r} is blank, so there is nothing to learn")
    return row


def _check_kind(value: object, field: str, template: Template, where: str) -> None:
    if field not in template.lists:
        if not isinstance(value, str):
            raise TrainingError(f"{where}: field {field!r} must be a string")
    elif not (isinstance(value, list) and value and all(isinstance(v, str) for v in value)):
        raise TrainingError(f"{where}: field {field!r} must be a list of strings, with one or more")


def encode(example: Example, tokenizer: "PreTrainedTokenizerBase") -> Encoded:
    """Token ids of one example, ended by the tokenizer's end-of-text token."""
    prompt = tokenizer(example.prompt, add_special_tokens=False)["input_ids"]
    completion = tokenizer(example.completion, add_special_tokens=False)["input_ids"]
    return Encoded((*prompt, *completion, tokenizer.eos_token_id), len(prompt))


def encode_all(
    examples: Iterable[Example],
    tokenizer: "PreTrainedTokenizerBase",
    max_tokens: int,
    max_prompt_tokens: int | None = None,
) -> list[Encoded]:
    """Every example that fits into ``max_tokens``; a cut-off answer would teach to stop early.

    Raises:
        TrainingError: none fits.
    """
    fitting = [
        encoded
        for encoded in (encode(example, tokenizer) for example in examples)
        if len(encoded.input_ids) <= max_tokens
        and (max_prompt_tokens is None or encoded.prompt_tokens <= max_prompt_tokens)
    ]
    if not fitting:
        bound = f" and prompts of {max_prompt_tokens}" if max_prompt_tokens else ""
        raise TrainingError(f"no example fits into {max_tokens} tokens{bound}; raise max_tokens")
    return fitting


def digest_of(paths: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of each file by its name: which data it was, without its path."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
