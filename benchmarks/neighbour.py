"""Decoding beside a program that keeps a core busy: ``make bench-neighbour``.

The engine computes in step with itself: each of its threads waits for the others hundreds of times
a step. A program that takes a core for some milliseconds holds up one of them, and with it all. Two
engines are measured in turn, with and without such a neighbour: as it is served, and with threads
that never sleep while they wait, as the OpenMP runtime has them of itself.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.console import Console
from rich.progress import track

from benchmarks import machine
from benchmarks.child_process import Child
from benchmarks.engine.adapters import write_adapters
from benchmarks.engine.cases import ADAPTERS, ROWS
from benchmarks.engine.child import MAX_RANK
from benchmarks.engine.run import Speeds
from server.prepare import base_model_path, cache_dir, prepare

RESULTS = Path(__file__).parent / "results"
BUSY: Final = (sys.executable, "-c", "while True: pass")
SETTLE_S: Final = 0.5
"""How long the scheduler gets to spread its tasks before anything is measured."""

SPINNING: Final = {"GOMP_SPINCOUNT": "300000"}
"""The runtime's own default: it sleeps after some milliseconds, hardly ever within a step."""

MIXTURES = next(row.mixtures for row in ROWS if "eight distinct" in row.title)


@dataclass(frozen=True)
class Load:
    """So many requests at once, each for so many tokens."""

    title: str
    requests: int
    tokens: int

    def command(self) -> dict[str, Any]:
        """What a child process is asked to measure."""
        return {
            "what": "decode",
            "requests": self.requests,
            "prompt": 32,
            "tokens": self.tokens,
            "mixtures": MIXTURES,
        }


LOADS = (Load("one request", 1, 40), Load("eight requests", 8, 24))
ENGINES: Final[dict[str, dict[str, str]]] = {"as served": {}, "threads that spin": SPINNING}


@contextmanager
def neighbour() -> Iterator[None]:
    """A program that computes without end."""
    process = subprocess.Popen(BUSY)
    try:
        time.sleep(SETTLE_S)
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def engines(dtype: str) -> Iterator[dict[str, Child]]:
    """Both engines, started one after another."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        adapters = write_adapters(base_model_path(), Path(folder), ADAPTERS, MAX_RANK)
        children = {}
        for name, variables in ENGINES.items():
            arguments = ["bank", str(base_model_path()), "nobind", str(cache_dir()), dtype]
            os.environ.update(variables)
            child = Child(name, "benchmarks.engine.child", [*arguments, *map(str, adapters)])
            for variable in variables:
                del os.environ[variable]
            stack.callback(child.stop)
            child.answer()
            children[name] = child
        yield children


def measure(children: dict[str, Child], rounds: int) -> Speeds:
    """(engine and neighbour, load) → tokens a second, one number a round."""
    speeds: Speeds = {}
    for load in LOADS:
        for child in children.values():
            child.ask(load.command())
    for _ in track(range(rounds), "rounds"):
        for load in LOADS:
            for name, child in children.items():
                alone = child.ask(load.command())["tokens_per_s"]
                with neighbour():
                    beside = child.ask(load.command())["tokens_per_s"]
                speeds.setdefault((name, load.title), []).append(float(alone))
                speeds.setdefault((f"{name}, beside", load.title), []).append(float(beside))
    return speeds


def slower(speeds: Speeds, engine: str, load: str) -> list[float]:
    """How many times slower it is beside the neighbour, round by round."""
    pairs = zip(speeds[engine, load], speeds[f"{engine}, beside", load], strict=True)
    return [alone / beside for alone, beside in pairs]


def report(speeds: Speeds, dtype: str) -> str:
    """The table in Markdown."""
    rounds = len(next(iter(speeds.values())))
    lines = [
        "# Beside a busy program",
        "",
        f"`make bench-neighbour`, {rounds} rounds, {machine.described()}. SmolLM2-135M, {dtype}, "
        "mixtures of four adapters of rank 16. Tokens a second of all requests together, medians; "
        "the neighbour is one process that computes without end.",
        "",
        "| engine | load | alone | beside a neighbour | times slower: median (all rounds) |",
        "|---|---|---|---|---|",
    ]
    for engine in ENGINES:
        for load in LOADS:
            found = slower(speeds, engine, load.title)
            lines.append(
                f"| {engine} | {load.title} | {median(speeds[engine, load.title]):.1f} "
                f"| {median(speeds[f'{engine}, beside', load.title]):.1f} | {median(found):.2f} "
                f"({', '.join(f'{one:.2f}' for one in found)}) |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="make bench-neighbour", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", default="float32", choices=["bfloat16", "float32"])
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    prepare()
    with engines(options.dtype) as children:
        speeds = measure(children, options.rounds)
    table = report(speeds, options.dtype)
    Console().print(table)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "neighbour.md").write_text(table)
    rows = [{"engine": e, "load": c, "tokens_per_s": v} for (e, c), v in speeds.items()]
    content = {"machine": machine.described(), "dtype": options.dtype, "speeds": rows}
    (options.out / "neighbour.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
