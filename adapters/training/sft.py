"""Train a LoRA adapter on pairs of prompt and answer: ``python -m adapters.training.sft --help``.

    python -m adapters.training.sft --task maths --data train.jsonl --base-model FOLDER --out OUT

The loss counts the tokens of the answer alone. A run that broke off goes on with ``--resume`` and
ends with the very adapter that it would have made in one go.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from adapters.errors import AdapterError
from adapters.names import check_name
from adapters.training.base import load_base, public_name
from adapters.training.card import Card, DataSource
from adapters.training.data import digest_of, encode_all, read_examples
from adapters.training.recipe import Recipe, add_flags, recipe_from
from adapters.training.run_folder import RunFolder
from adapters.training.templates import TEMPLATES
from adapters.training.trainer import Session, add_adapter, save_adapter, train


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        card = run(options, recipe_from(options))
    except AdapterError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command with --resume goes on\n")
        return 130
    sys.stdout.write(f"{options.out}: {card.bytes} bytes, {card.seconds:.0f} s\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m adapters.training.sft",
        description="Train a LoRA adapter on prompts and answers (loss on the answers alone).",
    )
    parser.add_argument("--task", required=True, choices=list(TEMPLATES), help="text template")
    parser.add_argument(
        "--data",
        required=True,
        type=Path,
        nargs="+",
        help="JSON Lines files with the task's fields",
    )
    parser.add_argument("--base-model", required=True, help="folder or hub name")
    parser.add_argument("--out", required=True, type=Path, help="folder to make")
    parser.add_argument("--name", help="the adapter's name (default: the folder's)")
    parser.add_argument("--data-name", default="data of the user", help="for the card")
    parser.add_argument("--data-licence", default="not stated", help="for the card")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--save-every", type=int, default=25, help="steps between checkpoints")
    parser.add_argument("--threads", type=int, help="processor threads (default: all)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_flags(parser)
    return parser


def run(options: argparse.Namespace, recipe: Recipe) -> Card:
    """Train as the options say and write the adapter with its card.

    Raises:
        AdapterError: something about the data, the options or the folder is wrong.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    name = check_name(options.name or options.out.name)
    examples = [example for path in options.data for example in read_examples(path, options.task)]
    base_name, digests = public_name(options.base_model), digest_of(options.data)
    folder = RunFolder(options.out)
    identity = {
        "task": options.task,
        "base_model": base_name,
        "data": digests,
        "recipe": recipe.model_dump(mode="json"),
    }
    model, tokenizer = load_base(options.base_model, recipe.dtype)
    encoded = encode_all(examples, tokenizer, recipe.max_tokens)
    adapted = add_adapter(model, recipe)
    checkpoint = folder.open(identity, resume=options.resume)
    began = time.monotonic()
    session = Session(folder, name, options.save_every, checkpoint, options.quiet)
    tokens = train(adapted, tokenizer, encoded, recipe, session)
    seconds = round(time.monotonic() - began, 1)
    source = DataSource(
        name=options.data_name,
        licence=options.data_licence,
        files=digests,
        examples=len(encoded),
    )
    card = Card(
        name=name,
        task=options.task,
        base_model=base_name,
        data=source,
        recipe=recipe,
        seconds=seconds,
        tokens=tokens,
        bytes=save_adapter(adapted, base_name, options.out),
    )
    card.write(options.out)
    folder.close()
    return card


if __name__ == "__main__":
    raise SystemExit(main())
