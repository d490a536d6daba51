"""Make an adapter's centroids from example texts, to lie beside its weights as ``router.json``.

    python -m router.fit --examples examples.jsonl --out router.json

A file of examples has one text a line; a ``.jsonl`` file has a JSON string a line, or an object
whose ``text`` is one.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.adapter import RoutingData
from adapters.limits import Limits
from adapters.printable import printable
from adapters.routing_data import parse_vectors
from router.centroids.centroid import centroids
from router.encoders import Encoder, make_encoder
from router.errors import InvalidCentroid, NoExamples, RoutingError

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
EXAMPLES_KEPT = 8
EXAMPLE_CHARACTERS = 500
_MAX_BYTES = Limits().max_routing_bytes
CENTROID_DIGITS = 5
"""Significant ones: a cosine is then right to 1e-5."""


def read_examples(path: Path) -> tuple[str, ...]:
    """The texts of a file that are not blank.

    Raises:
        NoExamples: the file holds none, or a line is not what its format says.
        OSError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as err:
        raise NoExamples(f"{path.name} is not UTF-8 text") from err
    if path.suffix == ".jsonl":
        texts = [
            _text_of(line, f"{path.name}, line {number}")
            for number, line in enumerate(lines, 1)
            if line.strip()
        ]
    else:
        texts = [line.strip() for line in lines]
    examples = tuple(text for text in texts if text.strip())
    if not examples:
        raise NoExamples(f"{path.name} holds no example text")
    return examples


def fitted(
    encoder: Encoder,
    examples: Sequence[str],
    *,
    description: str | None = None,
    keep: int = EXAMPLES_KEPT,
    count: int | None = None,
) -> dict[str, Any]:
    """The content of ``router.json``: the centroids of all examples, and a few of them to show.

    ``count`` says how many centroids; None leaves it to the examples.
    """
    rows = centroids(encoder, examples, count)
    return {
        "encoder": encoder.space.name,
        "dimension": encoder.space.dimension,
        "count": len(examples),
        "description": description,
        "examples": [text[:EXAMPLE_CHARACTERS] for text in examples[:keep]],
        "centroids": [[_rounded(value) for value in row] for row in rows.tolist()],
    }


def read_fitted(path: Path) -> RoutingData:
    """The routing data of a ``router.json``.

    Raises:
        InvalidCentroid: the file is not what ``fitted`` gives.
        OSError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise InvalidCentroid(f"{path.name} is larger than {_MAX_BYTES} bytes")
        content = json.loads(raw.decode("utf-8"))
        examples, description = content.get("examples") or [], content.get("description")
        if not all(isinstance(text, str) for text in (*examples, description or "")):
            raise TypeError
        return RoutingData(
            examples=tuple(examples),
            description=description,
            centroids=parse_vectors(content.get("centroids", content.get("centroid"))),
            encoder=str(content["encoder"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as err:
        raise InvalidCentroid(
            f"{path.name} is no router.json; make one by 'python -m router.fit'"
        ) from err


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m router.fit", description="Make an adapter's centroids from example texts."
    )
    parser.add_argument("--examples", type=Path, required=True, help="texts, one a line, or .jsonl")
    parser.add_argument("--out", type=Path, required=True, help="the router.json to write")
    parser.add_argument("--description", help="what the adapter is for, in a sentence")
    parser.add_argument("--encoder", default=str(default_encoder()), help="folder or cached name")
    parser.add_argument("--keep", type=int, default=EXAMPLES_KEPT, help="examples to write along")
    parser.add_argument(
        "--centroids",
        "--prototypes",
        type=int,
        choices=range(1, Limits().max_centroids + 1),
        metavar="N",
        help="how many; default: 1 to 16, more where examples differ more",
    )
    given = parser.parse_args(arguments)
    try:
        examples = read_examples(given.examples)
        content = fitted(
            make_encoder(given.encoder),
            examples,
            description=given.description,
            keep=given.keep,
            count=given.centroids,
        )
        given.out.write_text(json.dumps(content, ensure_ascii=False) + "\n", "utf-8")
    except RoutingError as err:
        return _failed(str(err))
    except OSError as err:
        return _failed(f"{err.filename}: {err.strerror}")
    count = len(content["centroids"])
    made = f"{count} {'centroid' if count == 1 else 'centroids'} of {len(examples)} texts"
    sys.stdout.write(printable(f"{given.out}: {made} by {content['encoder']}") + "\n")
    return 0


def default_encoder() -> Path:
    """Where the default encoder lies in the cache folder."""
    cache = os.environ.get("LORALLOY_CACHE_DIR")
    root = Path(cache) if cache else Path.home() / ".cache" / "loralloy"
    return root / "encoders" / DEFAULT_ENCODER


def _rounded(value: float) -> float:
    return float(f"{value:.{CENTROID_DIGITS}g}")


def _failed(reason: str) -> int:
    sys.stderr.write(f"error: {printable(reason)}\n")
    return 1


def _text_of(line: str, where: str) -> str:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as err:
        raise NoExamples(f"{where} is not JSON: {err.msg}") from err
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise NoExamples(f"{where} must be a JSON string, or an object with a 'text' that is one")
    return text


if __name__ == "__main__":
    raise SystemExit(main())
