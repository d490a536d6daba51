"""Time the LoRA-TLE reference loop: python -m benchmarks.tle [--tokens 128]."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from adapters.errors import AdapterError
from adapters.training.base import load_base
from benchmarks.tle.loop import ReferenceLoop, measure
from benchmarks.tle.result import Result, parts_table, ratio_table
from router.centroids import centroid_of
from router.encoders.sentence_transformer import SentenceTransformerEncoder
from router.errors import RoutingError
from router.index import CentroidIndex
from server.prepare import base_model_path, encoder_path
from server.routing_data import read_routing

ROOT = Path(__file__).parents[2]
PROMPT = "Question: How much do five pens cost at $2 each?\n\nAnswer:"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        reference = measure_reference(options)
    except (AdapterError, RoutingError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    print(ratio_table(reference))
    print()
    print(parts_table(reference))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(asdict(reference), indent=1) + "\n", "utf-8")
    return 0


def measure_reference(options: argparse.Namespace) -> Result:
    """Load everything and time the loop, with a progress bar."""
    torch.set_num_threads(options.threads)
    loop = load(options)
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("reference loop", total=options.tokens)
        return measure(loop, options.prompt, options.tokens, lambda: progress.advance(bar))


def load(options: argparse.Namespace) -> ReferenceLoop:
    """The loop over the base model and every adapter of the folder that has a centroid.

    Raises:
        AdapterError: there is no such base model, or no adapter.
        RoutingError: the encoder or a centroid cannot be read.
    """
    encoder = SentenceTransformerEncoder(options.encoder, cache_size=0)
    index, folders = CentroidIndex(), {}
    for folder in sorted(path.parent for path in options.adapters.glob("*/router.json")):
        data = read_routing(folder)
        centroid = None if data is None else centroid_of(encoder, data)
        if centroid is not None:
            index.put(folder.name, folder.name, centroid)
            folders[folder.name] = folder
    if not folders:
        raise AdapterError(f"{options.adapters} holds no adapter with a centroid (*/router.json)")
    model, tokenizer = load_base(options.base_model, options.dtype)
    return ReferenceLoop(model, tokenizer, folders, encoder, index)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tle", description=__doc__)
    add = parser.add_argument
    add("--tokens", type=int, default=128, help="new tokens")
    add("--prompt", default=PROMPT)
    add("--base-model", default=str(base_model_path()), help="folder or hub name")
    add("--encoder", default=str(encoder_path()), help="folder or cached name")
    add("--adapters", type=Path, default=ROOT / "examples" / "adapters")
    add("--dtype", default="float32", choices=["bfloat16", "float32"])  # PEFT casts in bfloat16
    add("--threads", type=int, default=torch.get_num_threads(), help="processor threads")
    add("--out", type=Path, help="JSON file for the result")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
