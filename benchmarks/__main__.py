"""``make bench``: measure, print, save."""

import argparse
import json
import time
from pathlib import Path

from rich.console import Console

from benchmarks import machine, routing
from benchmarks.engine import run
from benchmarks.engine.figures import figures, joined_table
from server.prepare import base_model_path, cache_dir, prepare

RESULTS = Path(__file__).parent / "results"
console = Console()


def main() -> None:
    """Run the benchmark and save its table."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--repeats", type=int, default=4, help="passes over all loads, at most")
    parser.add_argument(
        "--minutes", type=float, default=13, help="begin no pass that would end later than this"
    )
    parser.add_argument("--threads", default="nobind", help="CPU cores of each engine")
    parser.add_argument(
        "--dtype", default="bfloat16", choices=["bfloat16", "float32"], help="of every engine"
    )
    parser.add_argument(
        "--beside", type=Path, help="another checkout of Loralloy, whose engine is measured too"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    prepare()
    begin = time.monotonic()
    console.print("starting the engines, one after another; a first start compiles for minutes")
    with run.engines(
        base_model_path(), cache_dir(), options.threads, options.dtype, options.beside
    ) as children:
        speeds = run.measure(children, options.repeats, begin + 60 * options.minutes)
    routed = routing.measure()
    minutes = (time.monotonic() - begin) / 60
    report = _report(speeds, routed, minutes, options.dtype, options.beside is not None)
    console.print(report)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "engine.md").write_text(report)
    rows = [{"row": r, "column": c, "tokens_per_s": v} for (r, c), v in speeds.items()]
    (options.out / "engine.json").write_text(
        json.dumps(
            {
                "machine": machine.described(),
                "dtype": options.dtype,
                "speeds": rows,
                "routing_ms": routed,
                "minutes": minutes,
                **figures(speeds),
            },
            indent=1,
        )
        + "\n"
    )


def _report(
    speeds: run.Speeds, routed: dict[str, float], minutes: float, dtype: str, beside: bool
) -> str:
    repeats = len(next(iter(speeds.values())))
    lines = [
        "# Engine benchmark",
        "",
        f"`make bench`, {minutes:.0f} minutes, {repeats} repeats, {machine.described()}. "
        f"SmolLM2-135M, {dtype}, rank 16, seven modules. Tokens a second (median); in brackets the "
        "ratio to vLLM without LoRA, taken within each round, then the median.",
        "",
        run.table(speeds),
        "",
        joined_table(speeds),
        "",
        "| aim | reached | aimed at |",
        "|---|---|---|",
        *(f"| {what} | {got:.2f} | {aim} |" for what, got, aim in run.aims(speeds)),
        "",
        *([run.beside_table(speeds), ""] if beside else []),
        "| routing a request adds | ms |",
        "|---|---|",
        *(f"| {what} | {ms:.1f} |" for what, ms in routed.items()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
