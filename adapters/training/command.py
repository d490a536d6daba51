"""The command line of every method: ``loralloy train METHOD`` runs it."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from adapters.printable import printable
from adapters.training.errors import TrainingError
from adapters.training.methods import method_of
from adapters.training.methods.method import Method
from adapters.training.plan.help import described_keys
from adapters.training.plan.recipe_file import bundled, plan
from adapters.training.process import status_of
from adapters.training.run.distributed import is_first
from adapters.training.run.push import push
from adapters.training.run.run import Session, run


def main(method: str, arguments: Sequence[str] | None = None) -> int:
    """Train by a method as the arguments say; returns the exit status."""
    chosen = method_of(method)
    options = _parser(chosen).parse_args(arguments)
    if options.list:
        sys.stdout.write("\n".join(bundled()) + "\n")
        return 0
    if options.threads:
        torch.set_num_threads(options.threads)
    return status_of(
        lambda: _train(chosen, options),
        writes_to=options.out,
        stopped="stopped; the same command with --resume goes on",
    )


def _train(method: Method[Any], options: argparse.Namespace) -> None:
    if options.out is None:
        raise TrainingError("--out FOLDER is needed: the folder to make, with the result")
    if options.push is not None and not method.makes_adapter:
        raise TrainingError(f"--push: {method.title} makes a base model, which no server takes up")
    whole = plan(method, options.config, options.settings)
    session = Session(options.out, options.name, options.save_every, options.resume, options.quiet)
    try:
        finished = run(whole, session)
    except torch.OutOfMemoryError:
        raise TrainingError(
            "the GPU's memory is too small; lower micro_batch_size, or set gradient_checkpointing"
        ) from None
    if not is_first():
        return
    card = finished.card
    sys.stdout.write(f"{options.out}: {card.bytes} bytes, {card.seconds:.0f} s\n")
    if options.push is not None:
        key = os.environ.get("LORALLOY_API_KEY")
        pushed = push(options.out, finished, method.title, options.push, key)
        sys.stdout.write(f"{printable(pushed)}\n")


def _parser(method: Method[Any]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"loralloy train {method.name}",
        description=f"Train by {method.title} ({method.reference}): loss on the answers alone.",
        epilog=f"keys of a recipe, with their defaults:\n{described_keys(method)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", metavar="RECIPE", help="YAML file, or a bundled recipe's name")
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key of the recipe; again for more; each wins over the file",
    )
    parser.add_argument("--out", type=Path, help="folder to make")
    parser.add_argument("--name", help="the adapter's name (default: the folder's)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--push", metavar="URL", help="upload to this server when done")
    parser.add_argument("--save-every", type=int, default=25, help="steps between checkpoints")
    parser.add_argument("--threads", type=int, help="processor threads (default: all)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--list", action="store_true", help="list the bundled recipes")
    return parser
