r"""Compare adapters and their base by held-out loss, each on each task.

    python -m adapters.training.evaluation.loss_command --base-model FOLDER --out RESULT \
        --adapters DIR [DIR …] --data maths=dev.jsonl [code=dev.jsonl …]

writes RESULT.json and RESULT.md. See ``heldout.py`` for what is measured. Cells that RESULT.json
already has for the same data and adapters are taken from it, so a run that broke off goes on.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from rich.console import Console
from rich.progress import Progress
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adapters.files import WEIGHTS_FILE
from adapters.training.data.examples import Encoded, digest_of, encode_all, read_examples
from adapters.training.errors import TrainingError
from adapters.training.evaluation.heldout_loss import loss_with_interval, response_losses
from adapters.training.evaluation.loss_table import BASE, LossTable, Task
from adapters.training.process import status_of
from adapters.training.run.base_model import load_base, public_name
from adapters.training.run.card import CARD_FILE, Card

MAX_TOKENS = 512


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = _parser().parse_args(arguments)
    return status_of(
        lambda: _compare(options),
        writes_to=options.out,
        stopped="stopped; the same command goes on with what is missing",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m adapters.training.evaluation.loss_command",
        description="Held-out loss of a base model and adapters on tasks, as JSON and Markdown.",
    )
    parser.add_argument("--base-model", required=True, help="folder or hub name")
    parser.add_argument("--adapters", required=True, type=Path, nargs="+", help="adapter folders")
    parser.add_argument(
        "--data", required=True, nargs="+", metavar="TASK=FILE", help="held-out JSON Lines files"
    )
    parser.add_argument("--out", required=True, type=Path, help="result, without its ending")
    parser.add_argument("--items", type=int, default=200, help="the first so many of each file")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--threads", type=int, help="processor threads (default: all)")
    parser.add_argument("--note", default="", help="for the result: how and where it was made")
    parser.add_argument(
        "--update-cards", action="store_true", help="write the scores into the adapters' cards"
    )
    return parser


def _compare(options: argparse.Namespace) -> None:
    table = evaluate(options)
    if options.update_cards:
        _update_cards(options.adapters, table)
    sys.stdout.write(table.markdown())


def evaluate(options: argparse.Namespace) -> LossTable:
    """Measure every cell that is not known yet, writing the table after each.

    Raises:
        AdapterError: data, base model or an adapter cannot be read.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    base, tokenizer = load_base(options.base_model, options.dtype)
    tasks, items = _read_tasks(options.data, options.items, tokenizer)
    adapters = {folder.name: folder for folder in options.adapters}
    table = LossTable.resumed(
        options.out,
        base_model=public_name(options.base_model),
        dtype=options.dtype,
        tasks=tasks,
        adapters={name: _weights_digest(folder) for name, folder in adapters.items()},
    )
    table.note = options.note
    cells = sum(len(items[task]) for _, task in table.missing())
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("held-out loss", total=cells)
        for name, model in _models(base, adapters):
            for task in [task for model_name, task in table.missing() if model_name == name]:
                progress.update(bar, description=f"{name} on {task}")
                sums = response_losses(
                    model, items[task], lambda count: progress.advance(bar, count)
                )
                tokens = [len(item.input_ids) - item.prompt_tokens for item in items[task]]
                table.put(name, task, loss_with_interval(sums, np.array(tokens, dtype=float)))
                table.write(options.out)
    table.write(options.out)
    return table


def _read_tasks(
    pairs: Sequence[str], limit: int, tokenizer: PreTrainedTokenizerBase
) -> tuple[dict[str, Task], dict[str, list[Encoded]]]:
    tasks, items = {}, {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals:
            raise TrainingError(f"--data {pair!r}: write TASK=FILE")
        path = Path(file)
        encoded = encode_all(read_examples(path, name), tokenizer, MAX_TOKENS)[:limit]
        items[name] = encoded
        tasks[name] = Task(file=path.name, sha256=digest_of([path])[path.name], items=len(encoded))
    return tasks, items


def _weights_digest(folder: Path) -> str:
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise TrainingError(f"{folder} holds no {WEIGHTS_FILE}")
    return digest_of([path])[path.name]


def _models(
    base: PreTrainedModel, adapters: dict[str, Path]
) -> Iterator[tuple[str, PreTrainedModel]]:
    """The base model, then the base with each adapter in turn: one set of base weights for all."""
    base.eval()
    yield BASE, base
    for name, folder in adapters.items():
        adapted = PeftModel.from_pretrained(base, str(folder))
        adapted.eval()
        yield name, adapted.get_base_model()
        base = adapted.unload()


def _update_cards(folders: Sequence[Path], table: LossTable) -> None:
    for folder in folders:
        if not (folder / CARD_FILE).is_file():
            raise TrainingError(f"{folder} holds no {CARD_FILE} to update")
        held_out = {
            task: {BASE: table.loss(BASE, task), "adapter": table.loss(folder.name, task)}
            for task in table.tasks
        }
        Card.read(folder).model_copy(update={"held_out": held_out}).write(folder)


if __name__ == "__main__":
    raise SystemExit(main())
