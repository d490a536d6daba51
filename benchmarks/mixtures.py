"""What mixtures cost of one engine's speed: ``python -m benchmarks.mixtures``, some minutes.

``make bench`` starts four engines and takes twenty. Here Loralloy's alone is started, and its base
requests, which skip the bank, are the measure of its mixtures, in turn within each round.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import track

from benchmarks import machine
from benchmarks.child_process import Child
from benchmarks.engine.adapters import write_adapters
from benchmarks.engine.cases import ADAPTERS, COLUMNS, ROWS
from benchmarks.engine.child import MAX_RANK
from benchmarks.engine.run import Speeds, ratios
from server.prepare import base_model_path, cache_dir, prepare

RESULTS = Path(__file__).parent / "results"
BANK = [row for row in ROWS if row.kind == "bank"]
BASE = next(row for row in BANK if row.mixtures is None)
MIXED = [row for row in BANK if "mixtures" in row.title]


def measure(child: Child, rounds: int) -> Speeds:
    """Tokens a second of each row and column, one number a round."""
    for column in COLUMNS:
        for row in (BASE, *MIXED):
            child.ask(column.shortened().command(row))
    speeds: Speeds = {}
    for _ in track(range(rounds), "rounds"):
        for column in COLUMNS:
            for row in (BASE, *MIXED):
                speed = float(child.ask(column.command(row))["tokens_per_s"])
                speeds.setdefault((row.title, column.title), []).append(speed)
    return speeds


def report(speeds: Speeds, dtype: str) -> str:
    """The table in Markdown."""
    rounds = len(next(iter(speeds.values())))
    lines = [
        "# Mixtures beside base requests",
        "",
        f"`python -m benchmarks.mixtures`, {rounds} rounds, {machine.described()}. SmolLM2-135M, "
        f"{dtype}, rank 16, seven modules, Loralloy's engine alone. Tokens a second (median); in "
        "brackets the ratio to base requests, taken within each round: the median, and all.",
        "",
        "| requests | " + " | ".join(column.title for column in COLUMNS) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]
    for row in (BASE, *MIXED):
        cells = []
        for column in COLUMNS:
            cell = f"{median(speeds[row.title, column.title]):.1f}"
            if row is not BASE:
                found = ratios(speeds, row, column, BASE)
                cell += f" ({median(found):.2f}: {', '.join(f'{one:.2f}' for one in found)})"
            cells.append(cell)
        lines.append(f"| {row.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--dtype", default="float32", choices=["bfloat16", "float32"])
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args(arguments)
    prepare()
    with TemporaryDirectory() as folder:
        adapters = write_adapters(base_model_path(), Path(folder), ADAPTERS, MAX_RANK)
        child = Child(
            "bank",
            "benchmarks.engine.child",
            [
                *("bank", str(base_model_path()), "nobind", str(cache_dir()), options.dtype),
                *map(str, adapters),
            ],
        )
        try:
            child.answer()
            speeds = measure(child, options.rounds)
        finally:
            child.stop()
    table = report(speeds, options.dtype)
    Console().print(table)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "mixtures.md").write_text(table)
    rows = [{"row": r, "column": c, "tokens_per_s": v} for (r, c), v in speeds.items()]
    content = {"machine": machine.described(), "dtype": options.dtype, "speeds": rows}
    (options.out / "mixtures.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
