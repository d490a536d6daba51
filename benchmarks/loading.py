"""How long a running answer stands still while adapters are loaded beside it.

    python -m benchmarks.loading [--loads 50] [--rank 16] [--streams 1] [--dtype bfloat16]

Streams decode without end; adapters go into slots and out of them, one after the other. Told are
how long a load takes, the longest gap between two tokens of a stream while it goes on, and the
longest in as much time right after it. The adapters are all of one rank, over seven modules.
"""

import argparse
import asyncio
import itertools
import json
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks import machine
from benchmarks.engine.adapters import write_adapters
from router.mixture import BASE_MODEL
from server.engine.client.plan import GenerationPlan, planned
from server.engine.engine import EmbeddedEngine
from server.engine.settings import EngineSettings
from server.prepare import base_model_path, cache_dir

RESULTS = Path(__file__).parent / "results"
SLOTS = 8
FILES = 12
"""Adapters on disk: more than slots, so that every load reads one that is in none."""

TOKENS = 900
WARM_UP_S = 5.0
PAUSE_S = 0.4
"""Before and after a load, so that no gap belongs to two."""


async def _tokens(engine: EmbeddedEngine, name: str) -> AsyncIterator[float]:
    """The moment of each token of an endless answer: one request follows the other."""
    from vllm import SamplingParams

    params = SamplingParams(max_tokens=TOKENS, temperature=0, ignore_eos=True)
    for turn in itertools.count():
        prompt = {"prompt_token_ids": [1, 2, 3, 4]}
        with planned(GenerationPlan((BASE_MODEL,))):
            outputs = engine.client.generate(prompt, params, f"{name}-{turn}")
            first = await anext(outputs)
        seen = len(first.outputs[0].token_ids)  # its gap is its prompt's
        async for output in outputs:
            now, made = time.perf_counter(), len(output.outputs[0].token_ids)
            for _ in range(made - seen):
                yield now
            seen = made
        yield float("nan")


Span = tuple[float, float]
"""From and to, in seconds."""


class Stream:
    """One stream's gaps between tokens, as spans."""

    def __init__(self, engine: EmbeddedEngine, name: str) -> None:
        self.gaps: list[Span] = []
        self._task = asyncio.create_task(self._follow(engine, name))

    async def _follow(self, engine: EmbeddedEngine, name: str) -> None:
        last = float("nan")
        async for now in _tokens(engine, name):
            if now == now and last == last:  # neither is the break between two requests
                self.gaps.append((last, now))
            last = now

    def longest_within(self, begin: float, end: float) -> float:
        """The longest gap, in milliseconds, of those that overlap a span; 0 if none does."""
        return max(
            (1e3 * (to - since) for since, to in self.gaps if since < end and to > begin), default=0
        )

    def stop(self) -> None:
        """End it."""
        self._task.cancel()


async def measure(
    folders: Sequence[Path], loads: int, streams: int, dtype: str
) -> dict[str, list[float]]:
    """Milliseconds by what was timed: each load, each stream's longest gaps in it and beside it."""
    settings = EngineSettings(dtype=dtype, max_loras=SLOTS, cache_dir=cache_dir())
    engine = await EmbeddedEngine.start(settings, base_model_path(), "base")
    running = [Stream(engine, f"stream-{n}") for n in range(streams)]
    await asyncio.sleep(WARM_UP_S)
    loading: list[Span] = []
    alone: list[Span] = []
    order = itertools.cycle(range(len(folders)))
    held: list[str] = []
    for number in itertools.islice(order, loads):
        if len(held) == SLOTS:
            await engine.unload(held.pop(0))
        await asyncio.sleep(PAUSE_S)
        begin = time.perf_counter()
        await engine.load(f"adapter-{number}", folders[number])
        end = time.perf_counter()
        held.append(f"adapter-{number}")
        loading.append((begin, end))
        await asyncio.sleep(PAUSE_S)
        begin = time.perf_counter()
        await asyncio.sleep(end - loading[-1][0])
        alone.append((begin, time.perf_counter()))
    for stream in running:
        stream.stop()
    found = {"a load": [1e3 * (end - begin) for begin, end in loading]}
    for name, spans in (
        ("longest gap of a stream in a load", loading),
        ("in as long without one", alone),
    ):
        found[name] = [stream.longest_within(*span) for span in spans for stream in running]
    engine.client.shutdown()
    return found


def _summary(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "90 %": quantiles(values, n=10)[8], "longest": max(values)}


def _report(content: dict[str, Any]) -> str:
    lines = [
        "# Loading adapters beside running answers",
        "",
        f"`python -m benchmarks.loading`, {content['machine']}. SmolLM2-135M, {content['dtype']}; "
        f"{content['loads']} loads of adapters of rank {content['rank']} over seven modules "
        f"({content['MiB']:.1f} MiB), one after another, beside {content['streams']} stream(s). "
        "Milliseconds.",
        "",
        "| | median | 90 % | longest |",
        "|---|---|---|---|",
    ]
    for name, summary in content["ms"].items():
        lines.append(f"| {name} | {' | '.join(f'{value:.0f}' for value in summary.values())} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading", description=__doc__)
    parser.add_argument("--loads", type=int, default=50)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folders = write_adapters(base_model_path(), Path(scratch), FILES, options.rank)
        size = sum(file.stat().st_size for file in folders[0].iterdir()) / 2**20
        taken = asyncio.run(measure(folders, options.loads, options.streams, options.dtype))
    content = {
        "machine": machine.described(),
        "dtype": options.dtype,
        "loads": options.loads,
        "rank": options.rank,
        "streams": options.streams,
        "MiB": size,
        "ms": {name: _summary(values) for name, values in taken.items()},
        "each_ms": taken,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "loading.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    (options.out / "loading.md").write_text(_report(content), "utf-8")
    print(_report(content))


if __name__ == "__main__":
    main()
