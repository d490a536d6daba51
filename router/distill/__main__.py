"""Make a static encoder for a base model's vocabulary, and say how well it agrees.

    python -m router.distill --base-model DIR --encoder DIR --texts maths.jsonl … --out DIR

Each file of texts is a topic, named by the file. Held-out files have the names of the topics they
belong to. Centroids are read from adapters' folders (``router.json``, made by the same encoder).
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence, Sized
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import torch

from adapters.adapter import RoutingData
from adapters.printable import printable
from router.centroids.centroid import Vector, checked_centroids
from router.distill.agreement import table
from router.distill.progress import Bars
from router.distill.run import Distillation, Plan
from router.distill.texts import read_topics
from router.distill.training import Recipe
from router.encoders import Encoder, make_encoder
from router.encoders.vocabulary import load_tokenizer
from router.errors import CentroidMismatch, NoExamples, RoutingError
from router.fit import default_encoder, read_fitted

AGREEMENT = "agreement.json"

Kind = TypeVar("Kind", bound=Sized)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = _parser().parse_args(arguments)
    torch.set_num_threads(given.threads)
    try:
        teacher = make_encoder(given.encoder)
        centroids = _centroids(given.centroids, teacher)
        run = Distillation(
            teacher, load_tokenizer(given.base_model), _plan(given), Bars(quiet=given.quiet)
        )
        held_out = read_topics(given.held_out)
        if given.texts:
            figures = run.run(read_topics(given.texts), held_out, centroids)
        else:
            figures = run.again(_needed(held_out, "--held-out"), _needed(centroids, "--centroids"))
        content = {"teacher": teacher.name, "agreement": [asdict(row) for row in figures]}
        (given.out / AGREEMENT).write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    except RoutingError as err:
        return _failed(str(err))
    except OSError as err:
        return _failed(f"{err.filename}: {err.strerror}")
    size = sum(path.stat().st_size for path in given.out.iterdir())
    sys.stdout.write(f"{given.out}: {size / 1e6:.1f} MB\n\n{table(figures)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m router.distill",
        description="Distil an encoder into one vector for each token of a base model.",
    )
    add = parser.add_argument
    add("--base-model", type=Path, required=True, help="folder with its tokenizer.json")
    add("--base-model-name", help="what it is found by; default: the folder's name")
    add("--encoder", default=str(default_encoder()), help="the teacher: folder or cached name")
    add(
        "--texts",
        type=Path,
        nargs="+",
        default=[],
        help="one text a line, or .jsonl; without any, the encoder in --out is measured again",
    )
    add("--held-out", type=Path, nargs="*", default=[], help="default: a tenth of each file")
    add("--centroids", type=Path, nargs="*", default=[], help="adapters' folders; default: means")
    add("--out", type=Path, required=True, help="folder to write; its name becomes the encoder's")
    add("--dimension", type=int, default=128, help="directions that are kept (128)")
    add("--bits", type=int, choices=(4, 8), default=4, help="of one value (4)")
    add("--limit", type=int, help="take so many texts of each file")
    add("--pieces", type=int, default=2, help="prefixes and spans of each text (2)")
    add("--held-out-limit", type=int, default=200, help="measure on so many of each file (200)")
    add("--epochs", type=int, default=Recipe().epochs)
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=1)
    add("--keep", type=Path, help="folder for the teacher's embeddings, to go on from")
    add("--quiet", action="store_true", help="show no progress")
    return parser


def _needed(found: Kind, option: str) -> Kind:
    """What is found, if there is anything.

    Raises:
        NoExamples: there is nothing.
    """
    if not found:
        raise NoExamples(f"without --texts an encoder is measured again, which needs {option}")
    return found


def _plan(given: argparse.Namespace) -> Plan:
    return Plan(
        out=given.out,
        base_model=given.base_model_name or given.base_model.resolve().name,
        dimension=given.dimension,
        bits=given.bits,
        limit=given.limit,
        pieces=given.pieces,
        held_out_limit=given.held_out_limit,
        keep=given.keep,
        recipe=Recipe(epochs=given.epochs, seed=given.seed),
    )


def _centroids(folders: Sequence[Path], teacher: Encoder) -> Mapping[str, Vector]:
    """Adapter → its centroids, by the adapters' folders."""
    found = {folder.resolve().name: read_fitted(folder / "router.json") for folder in folders}
    return {name: _made_by(teacher, name, data) for name, data in found.items()}


def _made_by(teacher: Encoder, name: str, data: RoutingData) -> Vector:
    if data.encoder != teacher.name:
        raise CentroidMismatch(
            f"the centroid of {name!r} was made by {data.encoder!r}, not by {teacher.name!r}"
        )
    return checked_centroids(data.centroids, teacher.dimension)


def _failed(reason: str) -> int:
    sys.stderr.write(f"error: {printable(reason)}\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
