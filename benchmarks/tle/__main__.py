"""Measure weights that follow the answer against the LoRA-TLE reference loop: ``make bench-tle``.

Our engine decodes under each scope, stride and encoder; the reference makes a merged adapter for
each token and runs the whole prefix. All take turns, stretch by stretch of the answer.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from adapters.errors import AdapterError
from benchmarks.child_process import Child
from benchmarks.tle.loop import ReferenceLoop
from benchmarks.tle.report import markdown
from benchmarks.tle.result import figures, reached
from benchmarks.tle.rounds import Plan, Runner, faster
from benchmarks.tle.setup import adapter_folders, check, load_reference
from benchmarks.tle.variants import AIMS, LOADS, STATIC, variants
from router.encoders.static import bundled_for
from router.errors import RoutingError
from server.prepare import base_model_path, cache_dir, encoder_path, prepare

ROOT = Path(__file__).parents[2]
DTYPES = ("bfloat16", "float32")
console = Console(stderr=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        prepare()
        run(options)
    except (AdapterError, RoutingError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def run(options: argparse.Namespace) -> None:
    """Measure everything, then write the tables."""
    has_static = bundled_for(Path(options.base_model)) is not None
    plan = Plan(
        variants=variants(has_static=has_static),
        loads=sorted(set(options.requests)),
        rounds=options.rounds,
        tokens=options.tokens,
        stretch=options.stretch,
        reference=options.reference_tokens,
    )
    check(plan)
    if not has_static:
        console.print(f"left out, since the base model has no static encoder: {STATIC.title}")
    begin = time.time()
    turns = len(list(plan.turns()))
    console.print(
        f"{turns} turns in {plan.rounds} rounds: about {plan.minutes:.0f} minutes on a quiet "
        "two-core machine, and minutes more where the engine has yet to be compiled"
    )
    torch.set_num_threads(options.reference_threads)
    with _engine(options) as child:
        dtype, loop = _reference(options)
        runner = Runner(child, loop, plan)
        with Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=console) as bar:
            task = bar.add_task("warming up", total=None)
            runner.warm_up()
            bar.reset(task, description="measuring", total=turns)
            runner.run(lambda: bar.advance(task))
    _write(options, runner, dtype, (time.time() - begin) / 60)


@contextmanager
def _engine(options: argparse.Namespace) -> Iterator[Child]:
    adapters = map(str, adapter_folders(options.adapters))
    arguments = (options.base_model, options.encoder, str(cache_dir()), options.threads, *adapters)
    child = Child("loralloy", "benchmarks.tle.child", arguments)
    try:
        child.answer()
        yield child
    finally:
        child.stop()


def _reference(options: argparse.Namespace) -> tuple[str, ReferenceLoop]:
    """The loop in the number format in which it is the faster one, unless one is asked for."""
    dtypes = DTYPES if options.reference_dtype == "faster" else (options.reference_dtype,)
    adapters = adapter_folders(options.adapters)
    loops = {
        dtype: load_reference(options.base_model, options.encoder, adapters, dtype)
        for dtype in dtypes
    }
    dtype = faster(loops, options.tokens // 2) if len(loops) > 1 else dtypes[0]
    console.print(f"the reference loop runs in {dtype}")
    return dtype, loops[dtype]


def _write(options: argparse.Namespace, runner: Runner, dtype: str, minutes: float) -> None:
    plan = runner.plan
    command = (
        f'make bench-tle ARGS="--rounds {plan.rounds} --tokens {plan.tokens} '
        f"--stretch {plan.stretch} --requests {' '.join(map(str, plan.loads))} "
        f'--reference-tokens {plan.reference}"'
    )
    about = f"`{command}`, {minutes:.0f} minutes, {platform.machine()}"
    about += f", {options.note}." if options.note else "."
    text = markdown(runner, dtype, about)
    content = {
        "command": command,
        "note": options.note,
        "minutes": round(minutes, 1),
        "reference_dtype": dtype,
        "reference_seconds": asdict(runner.spent),
        "reference_tokens": runner.counted,
        "reference_seconds_a_token": {
            part: seconds / runner.counted for part, seconds in asdict(runner.spent).items()
        },
        "speeds": runner.speeds.as_rows(),
        "aims": [asdict(one) for one in reached(runner.speeds, AIMS)],
        **figures(runner.speeds),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    options.out.with_suffix(".md").write_text(text, "utf-8")
    sys.stdout.write(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench-tle",
        description="Measure token scope against the LoRA-TLE reference loop, in one run.",
    )
    add = parser.add_argument
    add("--rounds", type=int, default=2, help="how often the answer is gone through")
    add("--tokens", type=int, default=128, help="new tokens of an answer")
    add("--stretch", type=int, default=32, help="tokens of one turn; they divide --tokens")
    add("--requests", type=int, nargs="+", default=list(LOADS), help="requests at once")
    add("--reference-tokens", type=int, default=3, help="the reference makes of each stretch")
    add("--reference-dtype", choices=["faster", *DTYPES], default="faster")
    add("--reference-threads", type=int, default=torch.get_num_threads())
    add("--threads", default="nobind", help="processor cores of the engine")
    add("--base-model", default=str(base_model_path()), help="folder")
    add("--encoder", default=str(encoder_path()), help="folder")
    add("--adapters", type=Path, default=ROOT / "examples" / "adapters")
    add("--out", type=Path, default=ROOT / "benchmarks" / "results" / "tle")
    add("--note", default="", help="for the result: on which machine")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
