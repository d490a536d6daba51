"""What mixtures cost of one engine's speed: ``make bench-mixtures``, some minutes.

``make bench`` starts four engines and takes twenty. Here Loralloy's alone is started, and its base
requests, which skip the bank, are the measure of its mixtures, in turn within each round. With
``--beside FOLDER`` another checkout's engine is measured in the same rounds, in a number format of
its own.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console
from rich.progress import track

from benchmarks import machine
from benchmarks.child_process import Child
from benchmarks.engine.adapters import write_adapters
from benchmarks.engine.cases import ADAPTERS, COLUMNS, ROWS
from benchmarks.engine.child import MAX_RANK
from benchmarks.engine.run import Speeds, ratios
from server.prepare import base_model_path, cache_dir, prepare

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BANK = [row for row in ROWS if row.kind == "bank"]
BASE = next(row for row in BANK if row.mixtures is None)
MIXED = [row for row in BANK if "mixtures" in row.title]


DTYPES: Final = ("bfloat16", "float32")
THIS: Final = "this checkout"


@dataclass(frozen=True)
class Engine:
    """One that is measured.

    Attributes:
        dtype: its number format.
        folder: the checkout that it is of; None: this one.
    """

    dtype: str
    folder: Path | None = None

    @property
    def title(self) -> str:
        """What it is called in the tables."""
        if self.folder is None:
            return f"{THIS}, {self.dtype}"
        return f"{machine.commit_of(self.folder)}, {self.dtype}"


@contextmanager
def started(engines: Sequence[Engine]) -> Iterator[dict[str, Child]]:
    """All engines, started one after another: title → engine."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        adapters = write_adapters(base_model_path(), Path(folder), ADAPTERS, MAX_RANK)
        children: dict[str, Child] = {}
        for one in engines:
            cache = cache_dir() if one.folder is None else cache_dir() / "beside"
            arguments = ["bank", str(base_model_path()), "nobind", str(cache), one.dtype]
            child = Child(
                one.title,
                "benchmarks.engine.child",
                [*arguments, *map(str, adapters)],
                one.folder,
            )
            stack.callback(child.stop)
            child.answer()
            children[one.title] = child
        yield children


def measure(children: Mapping[str, Child], rounds: int) -> dict[str, Speeds]:
    """Tokens a second of each engine's rows and columns, one number a round."""
    for column in COLUMNS:
        for row in (BASE, *MIXED):
            for child in children.values():
                child.ask(column.shortened().command(row))
    speeds: dict[str, Speeds] = {title: {} for title in children}
    for _ in track(range(rounds), "rounds"):
        for column in COLUMNS:
            for row in (BASE, *MIXED):
                for title, child in children.items():
                    speed = float(child.ask(column.command(row))["tokens_per_s"])
                    speeds[title].setdefault((row.title, column.title), []).append(speed)
    return speeds


def report(speeds: Mapping[str, Speeds], command: str) -> str:
    """The tables in Markdown."""
    ours, *others = speeds.values()
    rounds = len(next(iter(ours.values())))
    lines = [
        "# Mixtures beside base requests",
        "",
        f"`{command}`, {rounds} rounds, {machine.described()}. SmolLM2-135M, rank 16, seven "
        "modules, Loralloy's engine alone. Tokens a second (median); in brackets the ratio to base "
        "requests of the same engine, taken within each round: the median, and all.",
    ]
    for title, found in speeds.items():
        lines += ["", f"## {title[0].upper()}{title[1:]}", "", *_header("requests")]
        for row in (BASE, *MIXED):
            cells = []
            for column in COLUMNS:
                cell = f"{median(found[row.title, column.title]):.1f}"
                if row is not BASE:
                    cell += f" ({_spread(ratios(found, row, column, BASE))})"
                cells.append(cell)
            lines.append(f"| {row.title} | " + " | ".join(cells) + " |")
    for title, other in zip(list(speeds)[1:], others, strict=True):
        lines += ["", f"## {THIS[0].upper()}{THIS[1:]} / {title}", ""]
        lines += ["Within each round: the median, and all.", "", *_header("requests")]
        for name, by_column in between(ours, other).items():
            lines.append(f"| {name} | " + " | ".join(map(_spread, by_column.values())) + " |")
    return "\n".join(lines) + "\n"


def between(ours: Speeds, other: Speeds) -> dict[str, dict[str, list[float]]]:
    """Row → column → ratio of one engine's speed to another's, one number a round."""
    return {
        row.title: {
            column.title: [
                mine / theirs
                for mine, theirs in zip(
                    ours[row.title, column.title], other[row.title, column.title], strict=True
                )
            ]
            for column in COLUMNS
        }
        for row in (BASE, *MIXED)
    }


def _header(first: str) -> list[str]:
    return [
        f"| {first} | " + " | ".join(column.title for column in COLUMNS) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]


def _spread(found: Sequence[float]) -> str:
    return f"{median(found):.2f}: {', '.join(f'{one:.2f}' for one in found)}"


def medians(speeds: Speeds) -> dict[str, dict[str, float]]:
    """Row → column → ratio to base requests, the median over rounds."""
    return {
        row.title: {one.title: median(ratios(speeds, row, one, BASE)) for one in COLUMNS}
        for row in MIXED
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="make bench-mixtures", description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--dtype", default="float32", choices=DTYPES)
    parser.add_argument("--beside", type=Path, help="another checkout of Loralloy")
    parser.add_argument("--beside-dtype", default="float32", choices=DTYPES, help="of its engine")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(given)
    prepare()
    engines = [Engine(options.dtype)]
    if options.beside is not None:
        engines.append(Engine(options.beside_dtype, options.beside.resolve()))
    with started(engines) as children:
        speeds = measure(children, options.rounds)
    # The names of folders say nothing to who reads them elsewhere.
    folders = (str(options.beside), str(options.out))
    typed = ["FOLDER" if one in folders else one for one in given]
    command = f'make bench-mixtures ARGS="{" ".join(typed)}"' if typed else "make bench-mixtures"
    table = report(speeds, command)
    Console().print(table)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "mixtures.md").write_text(table)
    content = {
        "command": command,
        "commit": machine.commit_of(ROOT),
        "machine": machine.described(),
        "of_base_requests": {title: medians(found) for title, found in speeds.items()},
        "of_the_other": {
            row: {column: median(each) for column, each in by_column.items()}
            for other in list(speeds.values())[1:]
            for row, by_column in between(speeds[engines[0].title], other).items()
        },
        "speeds": [
            {"engine": title, "row": row, "column": column, "tokens_per_s": each}
            for title, found in speeds.items()
            for (row, column), each in found.items()
        ],
    }
    (options.out / "mixtures.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
