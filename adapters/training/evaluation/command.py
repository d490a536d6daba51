r"""Measure models on task files: ``loralloy eval`` runs this.

    python -m adapters.training.evaluation --server http://127.0.0.1:8000 --models base maths auto \
        --tasks maths=gsm8k_dev.jsonl science=arc_dev.jsonl --out results/eval

or, without a server, ``--base-model FOLDER --adapters DIR …``. A task is a form of text
(``templates.py``), ``refusal`` with prompts alone, or ``choices`` with what may follow them.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from adapters.training.data.examples import digest_of
from adapters.training.errors import TrainingError
from adapters.training.evaluation.metrics import METRICS, USUAL
from adapters.training.evaluation.models import Model
from adapters.training.evaluation.questions import Question, read_questions
from adapters.training.evaluation.report import Report, Source
from adapters.training.process import status_of


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = _parser().parse_args(arguments)
    return status_of(
        lambda: sys.stdout.write(evaluate(options).markdown()),
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
    parser.add_argument("--max-tokens", type=int, default=128, help="of a generated answer")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--threads", type=int, help="processor threads (default: all)")
    parser.add_argument("--note", default="", help="for the result: how and where it was made")
    parser.add_argument("--out", required=True, type=Path, help="result, without its ending")
    parser.add_argument("--resume", action="store_true", help="keep the figures that --out has")
    return parser


def evaluate(options: argparse.Namespace) -> Report:
    """Measure every model on every task, writing the report after each.

    Raises:
        AdapterError: a file, the server, the base model or an adapter cannot be used.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    questions, sources = _read(options.tasks, options.items)
    report = Report(
        where=options.server or Path(options.base_model).name,
        tasks=sources,
        max_tokens=options.max_tokens,
        note=options.note,
    )
    if options.resume:
        report.take_up(options.out)
    models = _served(options) if options.server else _local(options)
    count = max(1, len(options.models) if options.server else len(options.adapters) + 1)
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("measuring", total=count * len(questions))
        for model in models:
            for task, asked in questions.items():
                progress.update(bar, description=f"{model.name} on {task}")
                for metric in options.metrics or USUAL.get(task, ("loss",)):
                    if not report.has(model.name, task, metric):
                        began = time.monotonic()
                        found = METRICS[metric](model, task, asked, options.max_tokens)
                        took = time.monotonic() - began
                        report.put(model.name, task, metric, found.share, took)
                        report.write(options.out)
                progress.advance(bar)
    report.write(options.out)
    return report


def _read(pairs: Sequence[str], limit: int) -> tuple[dict[str, list[Question]], dict[str, Source]]:
    questions, sources = {}, {}
    for pair in pairs:
        task, equals, file = pair.partition("=")
        if not equals:
            raise TrainingError(f"--tasks {pair!r}: write TASK=FILE")
        path = Path(file)
        found = questions[task] = read_questions(path, task, limit)
        sources[task] = Source(
            file=path.name, sha256=digest_of([path])[path.name], items=len(found)
        )
    return questions, sources


def _served(options: argparse.Namespace) -> Iterator[Model]:
    from adapters.training.evaluation.served import ServedModel

    if not options.models:
        raise TrainingError("--models is needed: which names of the server to measure")
    key = os.environ.get("LORALLOY_API_KEY")
    for name in options.models:
        yield ServedModel(options.server, name, key)


def _local(options: argparse.Namespace) -> Iterator[Model]:
    from peft import PeftModel

    from adapters.training.evaluation.local import LocalModel
    from adapters.training.run.base_model import load_base

    base, tokenizer = load_base(options.base_model, options.dtype)
    yield LocalModel("base", base, tokenizer)
    for folder in options.adapters:
        try:
            adapted = PeftModel.from_pretrained(base, str(folder))
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise TrainingError(f"{folder} cannot be put on this model: {reason}") from None
        yield LocalModel(folder.resolve().name, adapted.get_base_model(), tokenizer)
        base = adapted.unload()
