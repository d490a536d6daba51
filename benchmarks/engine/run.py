"""Runs all engines side by side and measures them in turn, repeat after repeat.

The machines that this runs on are shared and drift, so that only ratios within one round count:
every round measures every row, and the ratio to the row of vLLM without LoRA is taken inside it.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.progress import track

from benchmarks.child_process import Child
from benchmarks.engine.adapters import write_adapters
from benchmarks.engine.cases import ADAPTERS, BESIDE_ROWS, COLUMNS, ROWS, Column, Row
from benchmarks.engine.child import MAX_RANK

Speeds = dict[tuple[str, str], list[float]]

LEAST_REPEATS = 2


@contextmanager
def engines(
    model: Path, cache: Path, threads: str, dtype: str, beside: Path | None = None
) -> Iterator[dict[str, Child]]:
    """All engines, started one after another, since each start compiles.

    Args:
        model: the base model's folder.
        cache: where compiled code is kept; another checkout's has a folder of its own there.
        threads: CPU cores of each engine.
        dtype: number format of each engine.
        beside: another checkout of this project, whose engine is measured too.
    """
    with TemporaryDirectory() as folder, ExitStack() as stack:
        adapters = write_adapters(model, Path(folder), ADAPTERS, MAX_RANK)
        children: dict[str, Child] = {}
        for kind in ("plain", "joined", "bank", "stock"):
            arguments = [kind, str(model), threads, str(cache), dtype, *map(str, adapters)]
            children[kind] = Child(kind, "benchmarks.engine.child", arguments)
            stack.callback(children[kind].stop)
            children[kind].answer()
        if beside:
            arguments = ["bank", str(model), threads, str(cache / "beside"), dtype]
            children["beside"] = Child(
                "beside", "benchmarks.engine.child", [*arguments, *map(str, adapters)], beside
            )
            stack.callback(children["beside"].stop)
            children["beside"].answer()
        yield children


def measure(children: dict[str, Child], repeats: int, until: float) -> Speeds:
    """Measure every row and column in rounds, after one round that warms up.

    Args:
        children: the engines, by kind.
        repeats: rounds at most.
        until: by ``time.monotonic``: no round begins that would not be over by then, as long as the
            last one took; two are made in any case.
    """
    _round(children, [column.shortened() for column in COLUMNS], "warming up")
    speeds: Speeds = {}
    for number in range(1, repeats + 1):
        begin = time.monotonic()
        columns = [column for column in COLUMNS for _ in range(column.rounds)]
        for key, speed in _round(children, columns, f"round {number}, at most {repeats}"):
            speeds.setdefault(key, []).append(speed)
        end = time.monotonic()
        if number >= LEAST_REPEATS and end + (end - begin) > until:
            break
    return speeds


def _round(
    children: dict[str, Child], columns: list[Column], title: str
) -> list[tuple[tuple[str, str], float]]:
    """Measure all rows in turn in each column: (row, column) → tokens a second."""
    rows = [row for row in (*ROWS, *BESIDE_ROWS) if row.kind in children]
    return [
        (
            (row.title, column.title),
            float(children[row.kind].ask(column.command(row))["tokens_per_s"]),
        )
        for column, row in track(list(product(columns, rows)), title)
    ]


def ratios(speeds: Speeds, row: Row, column: Column, to: Row) -> list[float]:
    """The ratio of two rows within each round."""
    pairs = zip(speeds[row.title, column.title], speeds[to.title, column.title], strict=True)
    return [ours / theirs for ours, theirs in pairs]


def ratio(speeds: Speeds, row: Row, column: Column, to: Row) -> float:
    """The median over rounds of the ratio of two rows within one round."""
    return median(ratios(speeds, row, column, to))


def table(speeds: Speeds) -> str:
    """The table in Markdown: median tokens a second, and the ratio to vLLM without LoRA."""
    lines = [
        "| engine | " + " | ".join(column.title for column in COLUMNS) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]
    for row in (row for row in (*ROWS, *BESIDE_ROWS) if (row.title, COLUMNS[0].title) in speeds):
        cells = [
            f"{median(speeds[row.title, column.title]):.0f} "
            f"({ratio(speeds, row, column, ROWS[0]):.2f})"
            for column in COLUMNS
        ]
        lines.append(f"| {row.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def beside_table(speeds: Speeds) -> str:
    """This checkout's speed by the other's in Markdown: the median over rounds and their range."""
    lines = [
        "| this checkout / the other | " + " | ".join(column.title for column in COLUMNS) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]
    ours = [row for row in ROWS if row.kind == "bank"]
    for row, other in zip(ours, BESIDE_ROWS, strict=True):
        cells = []
        for column in COLUMNS:
            found = ratios(speeds, row, column, other)
            cells.append(f"{median(found):.2f} ({min(found):.2f} to {max(found):.2f})")
        lines.append(f"| {row.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def aims(speeds: Speeds) -> list[tuple[str, float, float]]:
    """The aims: what, reached, aimed at."""
    rows = {row.title: row for row in ROWS}
    decode, prefill = COLUMNS[1], COLUMNS[3]
    mixed = rows["Loralloy, eight distinct 4-way mixtures"]
    one = rows["stock vLLM LoRA, one adapter"]
    return [
        (
            "decode of eight mixtures / vLLM without LoRA",
            ratio(speeds, mixed, decode, ROWS[0]),
            0.6,
        ),
        (
            "the same / vLLM without LoRA, in one process as ours is",
            ratio(speeds, mixed, decode, rows["vLLM without LoRA, in one process"]),
            0.6,
        ),
        (
            "decode of eight mixtures / stock LoRA, one adapter",
            ratio(speeds, mixed, decode, one),
            3,
        ),
        ("prefill of mixtures / stock LoRA, one adapter", ratio(speeds, mixed, prefill, one), 8),
    ]
