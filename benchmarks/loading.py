"""How long a running answer stands still while adapters are loaded beside it.

    python -m benchmarks.loading [--loads 50] [--rank 16] [--streams 1]

Streams decode without end; adapters go into slots and out of them, one after the other. Told are
how long a load takes, the longest gap between two tokens of a stream while it goes on, and the
longest in as much time right after it.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from statistics import median, quantiles

from benchmarks.engine.adapters import write_adapters
from router.mixture import BASE_MODEL
from server.engine.client.plan import GenerationPlan, planned
from server.engine.engine import EmbeddedEngine
from server.engine.settings import EngineSettings
from server.prepare import base_model_path, cache_dir

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


async def measure(folders: Sequence[Path], loads: int, streams: int) -> None:
    """Print the table."""
    settings = EngineSettings(dtype="bfloat16", max_loras=SLOTS, cache_dir=cache_dir())
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
    size = sum(file.stat().st_size for file in folders[0].iterdir()) / 2**20
    print(f"{loads} loads of {size:.1f} MiB beside {streams} stream(s), in milliseconds")
    print(f"| {'':32} | median | 90 % | longest |")
    print("|---|---|---|---|")
    print(_row("a load", [1e3 * (end - begin) for begin, end in loading]))
    for name, spans in (
        ("longest gap of a stream in a load", loading),
        ("in as long without one", alone),
    ):
        print(_row(name, [stream.longest_within(*span) for span in spans for stream in running]))
    engine.client.shutdown()


def _row(name: str, values: Sequence[float]) -> str:
    high = quantiles(values, n=10)[8]
    return f"| {name:32} | {median(values):.0f} | {high:.0f} | {max(values):.0f} |"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading", description=__doc__)
    parser.add_argument("--loads", type=int, default=50)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--streams", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folders = write_adapters(base_model_path(), Path(scratch), FILES, options.rank)
        asyncio.run(measure(folders, options.loads, options.streams))


if __name__ == "__main__":
    main()
