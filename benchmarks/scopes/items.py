"""The held-out items: prompt, gold answer, end of text, as token ids."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from adapters.training.data.examples import encode, read_examples

FILES = {
    "maths": "gsm8k_dev.jsonl",
    "science": "arc_challenge_dev.jsonl",
    "code": "code_alpaca_dev.jsonl",
    "reading": "squad_dev.jsonl",
}
"""Task → file of held-out items; the adapter of a task has its name."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item: its task, its place among the task's items, its prompt as text, all its tokens."""

    task: str
    number: int
    prompt: str
    ids: tuple[int, ...]
    prompt_tokens: int

    @property
    def answer(self) -> tuple[int, ...]:
        """The gold answer's tokens [T], end of text included."""
        return self.ids[self.prompt_tokens :]

    @property
    def digest(self) -> str:
        """Short digest of the tokens and of where the answer begins."""
        said = json.dumps([self.prompt_tokens, *self.ids])
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def read_items(
    folder: Path, task: str, tokenizer: PreTrainedTokenizerBase, limit: int, max_tokens: int
) -> list[Item]:
    """The first ``limit`` items of a task that fit into ``max_tokens``.

    Raises:
        TrainingError: the file cannot be read, or a line is wrong.
    """
    examples = read_examples(folder / FILES[task], task)
    encoded = ((example.prompt, encode(example, tokenizer)) for example in examples)
    fitting = ((prompt, e) for prompt, e in encoded if len(e.input_ids) <= max_tokens)
    return [
        Item(task, number, prompt, e.input_ids, e.prompt_tokens)
        for number, (prompt, e) in enumerate(islice(fitting, limit))
    ]


def in_turn(items: Sequence[Sequence[Item]]) -> Iterator[Item]:
    """One item of each task, then the next of each: a run that breaks off has some of all."""
    for number in range(max((len(of_task) for of_task in items), default=0)):
        for of_task in items:
            yield from of_task[number : number + 1]
