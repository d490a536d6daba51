"""The prompts: those that centroids are made from, and those that they are tried on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from adapters.training.data.examples import read_examples
from benchmarks.scopes.items import FILES as HELD_OUT

TRAINING = {
    "maths": ("gsm8k_train.jsonl",),
    "science": ("arc_challenge_train.jsonl", "arc_easy_train.jsonl"),
    "code": ("code_alpaca_train.jsonl",),
    "reading": ("squad_train.jsonl",),
}
"""Task → files of its training rows; the adapter of a task has its name."""

FIT_LIMIT = 600
"""Rows of each file that centroids are made from, as in ``tools/make_demos.sh``."""

TRIED = 200
FOLDS = 5
BY_PASSAGE = "reading"
"""Its rows come passage by passage: those tried must be of other passages than those fitted."""

Texts = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Split:
    """Task → prompts that its centroids are made from, and prompts that they are tried on."""

    fitted: Texts
    tried: Texts


def held_out(folder: Path, items: int) -> Split:
    """All training prompts, and the first held-out ones of each task.

    Raises:
        TrainingError: a file cannot be read, or a line is wrong.
    """
    tried = {task: _prompts(folder / name, task)[:items] for task, name in HELD_OUT.items()}
    return Split({task: training_prompts(folder, task) for task in TRAINING}, tried)


def folds(folder: Path) -> Iterator[Split]:
    """Splits of training prompts alone, for choosing how centroids are made.

    Tasks whose rows are independent are tried on the rows after those fitted; the passages of
    ``reading`` are parted into blocks, each tried once by the centroids of the others.

    Raises:
        TrainingError: a file cannot be read, or a line is wrong.
    """
    fitted = {task: training_prompts(folder, task) for task in TRAINING if task != BY_PASSAGE}
    tried = {
        task: _prompts(folder / TRAINING[task][0], task)[FIT_LIMIT : FIT_LIMIT + TRIED]
        for task in fitted
    }
    rows = _prompts(folder / TRAINING[BY_PASSAGE][0], BY_PASSAGE)[: FIT_LIMIT + TRIED]
    cuts = [_border(rows, len(rows) * place // FOLDS) for place in range(FOLDS + 1)]
    for start, stop in pairwise(cuts):
        others = [*rows[:start], *rows[stop:]]
        yield Split({**fitted, BY_PASSAGE: others}, {**tried, BY_PASSAGE: rows[start:stop]})


def training_prompts(folder: Path, task: str) -> list[str]:
    """The prompts that a task's centroids are made from.

    Raises:
        TrainingError: a file cannot be read, or a line is wrong.
    """
    return [text for name in TRAINING[task] for text in _prompts(folder / name, task)[:FIT_LIMIT]]


def _prompts(path: Path, task: str) -> list[str]:
    return [example.prompt for example in read_examples(path, task)]


def _border(rows: Sequence[str], place: int) -> int:
    """The first row at or after a place that is about another passage than the row before."""
    while 0 < place < len(rows) and _passage(rows[place]) == _passage(rows[place - 1]):
        place += 1
    return place


def _passage(prompt: str) -> str:
    return prompt.rpartition("\n\nQuestion:")[0]
