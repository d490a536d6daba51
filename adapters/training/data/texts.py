"""Write the texts that an adapter's centroid is made from: the prompts of its training data.

    python -m adapters.training.data.texts --task maths --data train.jsonl --out texts.jsonl

They have the form that the adapter was trained on, without the answers, since a request has none
when it is routed. ``--with-answers`` adds them, as LoRA-TLE did.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from adapters.training.data.examples import read_examples
from adapters.training.data.templates import TEMPLATES
from adapters.training.process import status_of


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m adapters.training.data.texts",
        description="Write the prompts of training data, one JSON object with a text on each line.",
    )
    parser.add_argument("--task", required=True, choices=list(TEMPLATES))
    parser.add_argument("--data", required=True, type=Path, nargs="+", help="JSON Lines files")
    parser.add_argument("--out", required=True, type=Path, help="JSON Lines file to write")
    parser.add_argument("--limit", type=int, help="take the first so many of each file")
    parser.add_argument("--with-answers", action="store_true", help="prompt and answer")
    options = parser.parse_args(arguments)
    return status_of(
        lambda: _write(options), writes_to=options.out, stopped="stopped; nothing is written"
    )


def _write(options: argparse.Namespace) -> None:
    examples = [
        example
        for path in options.data
        for example in read_examples(path, options.task)[: options.limit]
    ]
    texts = (
        example.prompt + (example.completion if options.with_answers else "")
        for example in examples
    )
    options.out.write_text(
        "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts),
        encoding="utf-8",
    )
    sys.stdout.write(f"{options.out}: {len(examples)} texts\n")


if __name__ == "__main__":
    raise SystemExit(main())
