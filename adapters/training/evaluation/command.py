r"""Measure models on task files: ``loralloy eval`` runs this.

    python -m adapters.training.evaluation --server http://127.0.0.1:8000 --models base maths auto \
        --tasks maths=gsm8k_dev.jsonl science=arc_dev.jsonl --out results/eval

or, without a server, ``--base-model FOLDER --adapters DIR …``. A task is a form of text
(``data/templates.py``), ``refusal`` with prompts alone, or ``choices`` with what may follow them.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from adapters.printable import printable, printable_lines
from adapters.training.data.examples import digest_of
from adapters.training.errors import TrainingError
from adapters.training.evaluation.cards import HELD_OUT, check_cards, update_cards
from adapters.training.evaluation.metrics import METRICS, USUAL
from adapters.training.evaluation.models import Model, Models
from adapters.training.evaluation.questions import Question, read_questions
from adapters.training.evaluation.report import Report, Source
from adapters.training.process import status_of


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = _parser().parse_args(arguments)
    return status_of(
        lambda: _show(options),
        writes_to=options.out,
        stopped="stopped; the same command with --resume goes on",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="loralloy eval",
        description="Loss, exact match, choices and refusals of models on JSON Lines of tasks.",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--server", metavar="URL", help="measure names that a server knows")
    where.add_argument("--base-model", metavar="FOLDER", help="measure adapters in this process")
    parser.add_argument("--models", nargs="+", default=[], help="names, with --server")
    parser.add_argument("--adapters", nargs="+", default=[], type=Path, help="folders, without one")
    parser.add_argument("--tasks", nargs="+", required=True, metavar="TASK=FILE")
    parser.add_argument("--metrics", nargs="+", choices=list(METRICS), help="default: by the task")
    parser.add_argument("--items", type=int, default=200, help="the first so many of each file")
    parser.add_argument(
        "--item-tokens", type=int, help="leave out longer items, answer included (no --server)"
    )
    parser.add_argument("--max-tokens", type=int, default=128, help="of a generated answer")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--threads", type=int, help="processor threads (default: all)")
    parser.add_argument("--note", default="", help="for the result: how and where it was made")
    parser.add_argument("--out", required=True, type=Path, help="result, without its ending")
    parser.add_argument(
        "--update-cards", action="store_true", help="write held_out into the adapters' cards"
    )
    parser.add_argument("--resume", action="store_true", help="keep the figures that --out has")
    return parser


def _show(options: argparse.Namespace) -> None:
    if options.update_cards:
        if options.server:
            raise TrainingError("--update-cards writes into --adapters: use --base-model")
        check_cards(options.adapters)
    report = evaluate(options)
    if options.update_cards:
        update_cards(options.adapters, report)
    sys.stdout.write(printable_lines(report.markdown()))


def evaluate(options: argparse.Namespace) -> Report:
    """Measure every model on every task, writing the report after each figure.

    Raises:
        AdapterError: a file, the server, the base model or an adapter cannot be used.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    models = _models(options)
    questions, sources = _read(options, models)
    report = Report(
        where=models.where,
        tasks=sources,
        max_tokens=options.max_tokens,
        dtype=models.dtype,
        item_tokens=options.item_tokens,
        weights=dict(models.weights),
        note=options.note,
    )
    if options.resume:
        report.take_up(options.out)
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("measuring", total=models.count * len(questions))
        for model in models:
            for task, asked in questions.items():
                progress.update(bar, description=escape(printable(f"{model.name} on {task}")))
                _measure(options, report, model, task, asked)
                progress.advance(bar)
    report.write(options.out)
    return report


def _measure(
    options: argparse.Namespace, report: Report, model: Model, task: str, asked: list[Question]
) -> None:
    """Fill the cells of one model and task that are still empty."""
    metrics = tuple(options.metrics or USUAL.get(task, ("loss",)))
    if options.update_cards and HELD_OUT not in metrics:
        metrics += (HELD_OUT,)
    for metric in metrics:
        if report.has(model.name, task, metric):
            continue
        began = time.monotonic()
        found = METRICS[metric](model, task, asked, options.max_tokens)
        report.put(model.name, task, metric, found.figure, time.monotonic() - began)
        report.write(options.out)


def _models(options: argparse.Namespace) -> Models:
    """What is measured; libraries that a server's models do not need stay out."""
    if options.server:
        from adapters.training.evaluation.served import ServedModels

        if not options.models:
            raise TrainingError("--models is needed: which names of the server to measure")
        return ServedModels(options.server, options.models, os.environ.get("LORALLOY_API_KEY"))
    from adapters.training.evaluation.local import LocalModels

    return LocalModels(options.base_model, options.adapters, options.dtype)


def _read(
    options: argparse.Namespace, models: Models
) -> tuple[dict[str, list[Question]], dict[str, Source]]:
    questions, sources = {}, {}
    longest = options.item_tokens
    fits = None if longest is None else lambda question: models.fits(question, longest)
    for pair in options.tasks:
        task, equals, file = pair.partition("=")
        if not equals:
            raise TrainingError(f"--tasks {pair!r}: write TASK=FILE")
        path = Path(file)
        found = questions[task] = read_questions(path, task, options.items, fits)
        sources[task] = Source(
            file=path.name, sha256=digest_of([path])[path.name], items=len(found)
        )
    return questions, sources
