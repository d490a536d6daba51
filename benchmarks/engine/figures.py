"""What follows from the speeds of a run: the ratios and aims that documentation quotes.

    python -m benchmarks.engine.figures benchmarks/results/engine.json …

writes them anew into result files, whose speeds stay as they were measured.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.engine import run
from benchmarks.engine.cases import BESIDE_ROWS, COLUMNS, ROWS
from benchmarks.engine.run import Speeds

WITHOUT, JOINED, STOCK = ROWS[0], ROWS[1], ROWS[2]


def figures(speeds: Speeds) -> dict[str, Any]:
    """The figures of a run.

    Returns:
        ``repeats``; ``ratios``: a row that is compared with → row → column → ratio, the median of
        those within each round; ``aims``: what → reached.
    """
    rows = [row for row in (*ROWS, *BESIDE_ROWS) if (row.title, COLUMNS[0].title) in speeds]
    return {
        "repeats": len(next(iter(speeds.values()))),
        "ratios": {
            to.title: {
                row.title: {column.title: run.ratio(speeds, row, column, to) for column in COLUMNS}
                for row in rows
            }
            for to in (WITHOUT, JOINED, STOCK)
        },
        "aims": {what: reached for what, reached, _ in run.aims(speeds)},
    }


def joined_table(speeds: Speeds) -> str:
    """Loralloy's rows against vLLM without LoRA in one process, as ours is, in Markdown."""
    titles = [column.title for column in COLUMNS]
    lines = [
        f"| of {JOINED.title} | " + " | ".join(titles) + " |",
        "|---|" + "---|" * len(titles),
    ]
    for row in (row for row in ROWS if row.kind == "bank"):
        cells = [f"{run.ratio(speeds, row, column, JOINED):.2f}" for column in COLUMNS]
        lines.append(f"| {row.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def speeds_of(content: dict[str, Any]) -> Speeds:
    """The speeds of a result file."""
    return {(one["row"], one["column"]): one["tokens_per_s"] for one in content["speeds"]}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine.figures",
        description="Write ratios and aims anew into result files of make bench.",
    )
    parser.add_argument("files", nargs="+", type=Path)
    for file in parser.parse_args().files:
        content = json.loads(file.read_text("utf-8"))
        content.update(figures(speeds_of(content)))
        file.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
