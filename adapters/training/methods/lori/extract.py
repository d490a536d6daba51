"""Masks from a trained LoRI-D adapter: ``loralloy masks ADAPTER`` runs this.

    python -m adapters.training.methods.lori ADAPTER [--sparsity 0.9 …] [--granularity model …]

They go into the adapter's folder, where the authors of LoRI put theirs (``mask_files.py``).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from adapters.files import WEIGHTS_FILE
from adapters.training.errors import TrainingError
from adapters.training.methods.lori.mask_files import read_masks, write_masks
from adapters.training.methods.lori.masks import GRANULARITIES, Masks, magnitude_masks
from adapters.training.process import status_of

_SAVED, _TRAINED = ".lora_B.weight", ".lora_B.default.weight"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = _parser().parse_args(arguments)
    return status_of(
        lambda: _extract(options),
        writes_to=options.adapter,
        stopped="stopped; the masks named so far are written",
    )


def _extract(options: argparse.Namespace) -> None:
    factors = read_b(options.adapter)
    taken = union([read_masks(path) for path in options.exclude]) if options.exclude else None
    for granularity in options.granularity:
        for sparsity in options.sparsity:
            masks = magnitude_masks(factors, sparsity, granularity, taken)
            path = write_masks(options.adapter, masks, sparsity, granularity)
            kept = sum(int(mask.sum()) for mask in masks.values())
            total = sum(mask.numel() for mask in masks.values())
            sys.stdout.write(f"{path}: {kept} of {total} entries\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="loralloy masks",
        description="Choose, by magnitude, which entries of B LoRI-S trains (arXiv 2504.07448).",
    )
    parser.add_argument("adapter", type=Path, help="folder of an adapter that LoRI-D trained")
    parser.add_argument(
        "--sparsity",
        type=float,
        nargs="+",
        default=[0.9],
        metavar="SHARE",
        help="share of the entries that is left out (default: 0.9)",
    )
    parser.add_argument(
        "--granularity",
        nargs="+",
        default=["model"],
        choices=GRANULARITIES,
        help="over what the entries are ranked together (default: the whole model)",
    )
    parser.add_argument(
        "--exclude",
        type=Path,
        nargs="+",
        default=[],
        metavar="MASK",
        help="masks of earlier tasks, whose entries are left alone",
    )
    return parser


def read_b(folder: Path) -> Masks:
    """Every B of an adapter, by the name that its parameter has while it is trained.

    Raises:
        TrainingError: the folder holds no adapter.
    """
    try:
        weights = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError):
        raise TrainingError(f"{folder} holds no {WEIGHTS_FILE} that can be read") from None
    return {
        name.removesuffix(_SAVED) + _TRAINED: tensor
        for name, tensor in weights.items()
        if name.endswith(_SAVED)
    }


def union(several: Sequence[Masks]) -> Masks:
    """The entries that any of the masks has.

    Raises:
        TrainingError: they are of different shapes or modules.
    """
    whole = dict(several[0])
    for masks in several[1:]:
        if {name: mask.shape for name, mask in masks.items()} != {
            name: mask.shape for name, mask in whole.items()
        }:
            raise TrainingError("the masks to exclude do not fit each other")
        whole = {name: torch.logical_or(whole[name], mask) for name, mask in masks.items()}
    return whole
