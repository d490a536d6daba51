"""How long a running answer stands still while adapters are loaded beside it.

    python -m benchmarks.loading [--loads 50] [--rank 16] [--streams 1]

Streams decode without end; adapters go into slots and out of them, one after the other. Told are
the gaps between a stream's tokens, without loads and with them in turn, and how long a load takes.
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
from server.engine.config import EngineSettings
from server.engine.embed import EmbeddedEngine
from server.prepare import base_model_path, cache_dir

SLOTS = 8
FILES = 12
"""Adapters on disk: more than slots, so that every load reads one that is in none."""

TOKENS = 900
TURN_LOADS = 10
IDLE_S = 5.0


async def _tokens(engine: EmbeddedEngine, name: str) -> AsyncIterator[float]:
    """The moment of each token of an endless answer: one request follows the other."""
    from vllm import SamplingParams

    params = SamplingParams(max_tokens=TOKENS, temperature=0, ignore_eos=True)
    for turn in itertools.count():
        seen = 0
        prompt = {"prompt_token_ids": [1, 2, 3, 4]}
        async for output in engine.client.generate(prompt, params, f"{name}-{turn}"):
            now, made = time.perf_counter(), len(output.outputs[0].token_ids)
            if seen:  # the first token's gap is its prompt's
                for _ in range(made - seen):
                    yield now
            seen = made
        yield float("nan")


class Stream:
    """One stream's gaps, in milliseconds, under the name of what goes on beside it."""

    def __init__(self, engine: EmbeddedEngine, name: str) -> None:
        self.gaps: dict[str, list[float]] = {"alone": [], "loading": []}
        self.beside = "alone"
        self._task = asyncio.create_task(self._follow(engine, name))

    async def _follow(self, engine: EmbeddedEngine, name: str) -> None:
        last = float("nan")
        async for now in _tokens(engine, name):
            if now == now and last == last:  # neither is the break between two requests
                self.gaps[self.beside].append(1e3 * (now - last))
            last = now

    def stop(self) -> None:
        """End it."""
        self._task.cancel()


async def measure(folders: Sequence[Path], loads: int, streams: int) -> None:
    """Print the table."""
    settings = EngineSettings(dtype="bfloat16", max_loras=SLOTS, cache_dir=cache_dir())
    engine = await EmbeddedEngine.start(settings, base_model_path(), "base")
    running = [Stream(engine, f"stream-{n}") for n in range(streams)]
    taken: list[float] = []
    order = itertools.cycle(range(len(folders)))
    held: list[str] = []
    while len(taken) < loads:
        await _say(running, "alone")
        await asyncio.sleep(IDLE_S)
        await _say(running, "loading")
        for number in itertools.islice(order, min(TURN_LOADS, loads - len(taken))):
            if len(held) == SLOTS:
                await engine.unload(held.pop(0))
            begin = time.perf_counter()
            await engine.load(f"adapter-{number}", folders[number])
            taken.append(1e3 * (time.perf_counter() - begin))
            held.append(f"adapter-{number}")
    for stream in running:
        stream.stop()
    size = sum(file.stat().st_size for file in folders[0].iterdir()) / 2**20
    print(f"{loads} loads of {size:.1f} MiB beside {streams} stream(s); a load takes (ms):")
    print(f"| {'':10} | tokens | median | 99 % | longest |")
    for name in ("alone", "loading"):
        gaps = [gap for stream in running for gap in stream.gaps[name]]
        print(_row(name, gaps))
    print(_row("a load", taken))
    engine.client.shutdown()


async def _say(running: Sequence[Stream], beside: str) -> None:
    await asyncio.sleep(0.5)  # the gap at hand still belongs to what was
    for stream in running:
        stream.beside = beside


def _row(name: str, values: Sequence[float]) -> str:
    high = quantiles(values, n=100)[98]
    return f"| {name:10} | {len(values)} | {median(values):.0f} | {high:.0f} | {max(values):.0f} |"


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
