"""Runs all engines side by side and measures them in turn, repeat after repeat.

The machines that this runs on are shared and drift, so that only ratios within one round count:
every round measures every row, and the ratio to the row of vLLM without LoRA is taken inside it.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.progress import track

from benchmarks.engine.adapters import write_adapters
from benchmarks.engine.cases import ADAPTERS, COLUMNS, ROWS, Column, Row
from benchmarks.engine.child import MAX_RANK

Speeds = dict[tuple[str, str], list[float]]


class Child:
    """An engine process that measures what it is told."""

    def __init__(
        self, kind: str, model: Path, threads: str, cache: Path, adapters: list[Path]
    ) -> None:
        self.kind = kind
        command = [sys.executable, "-m", "benchmarks.engine.child", kind, str(model), threads]
        self._process = subprocess.Popen(
            [*command, str(cache), *map(str, adapters)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> dict[str, Any]:
        """The next JSON line that the process writes; others' output is skipped."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise RuntimeError(f"the engine {self.kind!r} ended: its output above says why")

    def measure(self, command: dict[str, Any]) -> float:
        """Tokens a second under a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return float(self.answer()["tokens_per_s"])

    def stop(self) -> None:
        """End the process and its workers."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()


@contextmanager
def engines(model: Path, cache: Path, threads: str) -> Iterator[dict[str, Child]]:
    """All engines, started one after another, since each start compiles."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        adapters = write_adapters(model, Path(folder), ADAPTERS, MAX_RANK)
        children: dict[str, Child] = {}
        for kind in ("plain", "bank", "stock"):
            children[kind] = Child(kind, model, threads, cache, adapters)
            stack.callback(children[kind].stop)
            children[kind].answer()
        yield children


def schedule(repeats: int) -> Iterator[tuple[Row, Column, bool]]:
    """What to measure, in order, and whether it counts: the first round of all warms up."""
    for repeat in range(repeats + 1):
        for column in COLUMNS:
            for _ in range(column.rounds if repeat else 1):
                for row in ROWS:
                    yield row, column, repeat > 0


def measure(children: dict[str, Child], repeats: int) -> Speeds:
    """Measure every row and column ``repeats`` times, after one round that warms up."""
    speeds: Speeds = {}
    for row, column, counts in track(list(schedule(repeats)), "measuring"):
        command = column.command(row)
        if not counts:
            command["tokens"] = min(command["tokens"], 8)
        speed = children[row.kind].measure(command)
        if counts:
            speeds.setdefault((row.title, column.title), []).append(speed)
    return speeds


def ratio(speeds: Speeds, row: Row, column: Column, to: Row) -> float:
    """The median over rounds of the ratio of two rows within one round."""
    pairs = zip(speeds[row.title, column.title], speeds[to.title, column.title], strict=True)
    return median(ours / theirs for ours, theirs in pairs)


def table(speeds: Speeds) -> str:
    """The table in Markdown: median tokens a second, and the ratio to vLLM without LoRA."""
    lines = [
        "| engine | " + " | ".join(column.title for column in COLUMNS) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]
    for row in ROWS:
        cells = [
            f"{median(speeds[row.title, column.title]):.0f} "
            f"({ratio(speeds, row, column, ROWS[0]):.2f})"
            for column in COLUMNS
        ]
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
            "decode of eight mixtures / stock LoRA, one adapter",
            ratio(speeds, mixed, decode, one),
            3,
        ),
        ("prefill of mixtures / stock LoRA, one adapter", ratio(speeds, mixed, prefill, one), 8),
    ]
