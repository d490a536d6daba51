"""A thousand adapters over eight slots, against a server that has eight adapters in all.

    python -m benchmarks.crowd [--adapters 1000] [--rounds 24] [--requests 500] [--out FOLDER]

Two servers of the default model run side by side and are asked in turn, for the same eight
adapters: what the others cost that are registered and not in use. Then the crowded one gets
requests whose adapters are drawn by Zipf's law: how many find theirs in a slot, and how long an
answer takes.
"""

import argparse
import asyncio
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx
from rich.progress import track

from benchmarks import machine
from benchmarks.engine.adapters import write_adapters
from server.prepare import base_model_path, prepare

RESULTS = Path(__file__).parent / "results"
SLOTS = 8
AT_ONCE = 16
SKEW = 1.1
RANK = 4
LINEARS = ("q_proj", "v_proj")
"""Small ones: a thousand must lie on the disk, and what is measured does not depend on their size
as long as they stay in their slots."""

READY_S = 600
BODY = {"temperature": 0, "ignore_eos": True, "prompt": "The town had two clocks, and neither"}


class Server:
    """A server in a process of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / f"{name}.log"
        command = [sys.executable, "-m", "server", "--port", str(port), "--no-demo-adapters"]
        command += ["--max-loras", str(SLOTS), "--max-lora-rank", "16", "--max-model-len", "512"]
        command += ["--data-dir", str(folder / name)]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def wait(self) -> None:
        """Until it serves."""
        end = time.monotonic() + READY_S
        while time.monotonic() < end and self._process.poll() is None:
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/ready").status_code == httpx.codes.OK:
                    return
            time.sleep(0.5)
        raise SystemExit(f"error: a server did not start:\n{self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self._process.send_signal(2)
        self._process.wait()


@contextmanager
def servers(folder: Path, adapters: list[Path]) -> Iterator[dict[str, Server]]:
    """The one with eight adapters, and the one with all of them."""
    with ExitStack() as stack:
        found = {}
        for name, count in (("few", SLOTS), ("crowded", len(adapters))):
            found[name] = Server(folder, name)
            stack.callback(found[name].stop)
            found[name].wait()
            with httpx.Client(base_url=found[name].url, timeout=120) as http:
                for number in track(range(count), f"registering {count}"):
                    _push(http, number, adapters[number])
        yield found


def _push(http: httpx.Client, number: int, folder: Path) -> None:
    files = {
        "config": (folder / "adapter_config.json").read_bytes(),
        "file": (folder / "adapter_model.safetensors").read_bytes(),
    }
    data = {"name": f"a{number}", "description": f"about the number {number}"}
    http.post("/v1/adapters", data=data, files=files).raise_for_status()


async def _ask(http: httpx.AsyncClient, number: int, tokens: int) -> float:
    """The seconds that an answer by one adapter takes."""
    begin = time.perf_counter()
    body = {**BODY, "model": f"a{number}", "max_tokens": tokens}
    answer = await http.post("/v1/completions", json=body)
    answer.raise_for_status()
    return time.perf_counter() - begin


async def _speed(server: Server, tokens: int) -> float:
    """Tokens a second of eight requests at once, each by its own adapter of the first eight."""
    async with httpx.AsyncClient(base_url=server.url, timeout=300) as http:
        begin = time.perf_counter()
        await asyncio.gather(*(_ask(http, number, tokens) for number in range(SLOTS)))
        return SLOTS * tokens / (time.perf_counter() - begin)


def compare(found: dict[str, Server], rounds: int) -> list[tuple[float, float]]:
    """(crowded, few) tokens a second of each round; they take turns in coming first."""
    for server in found.values():
        asyncio.run(_speed(server, 8))
    speeds = []
    for number in track(range(rounds), "measuring"):
        order = ("few", "crowded") if number % 2 else ("crowded", "few")
        speed = {name: asyncio.run(_speed(found[name], 32)) for name in order}
        speeds.append((speed["crowded"], speed["few"]))
    return speeds


async def _skewed(server: Server, adapters: int, requests: int) -> list[float]:
    """The seconds of each answer."""
    rng = random.Random(5)
    weights = [1 / (rank + 1) ** SKEW for rank in range(adapters)]
    gate = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=server.url, timeout=600) as http:

        async def one(number: int) -> float:
            async with gate:
                return await _ask(http, number, 8)

        drawn = rng.choices(range(adapters), weights, k=requests)
        return list(await asyncio.gather(*map(one, drawn)))


def _counters(server: Server) -> dict[str, float]:
    lines = httpx.get(f"{server.url}/metrics", timeout=60).text.splitlines()
    pairs = (line.split() for line in lines if line.startswith("loralloy_"))
    return {pair[0]: float(pair[1]) for pair in pairs if len(pair) == 2}


def crowd(server: Server, adapters: int, requests: int) -> dict[str, float]:
    """How the crowded server fares when slots are short: shares and seconds."""
    before = _counters(server)
    seconds = asyncio.run(_skewed(server, adapters, requests))
    after = _counters(server)

    def grown(name: str) -> float:
        return after[f"loralloy_{name}_total"] - before[f"loralloy_{name}_total"]

    cuts = quantiles(seconds, n=100)
    hits, misses = grown("residency_hits"), grown("residency_misses")
    return {
        "answers": len(seconds),
        "share that found its adapter in a slot": hits / (hits + misses),
        "evictions": grown("evictions"),
        "seconds, median": median(seconds),
        "seconds, 99 %": cuts[98],
    }


def _content(
    speeds: list[tuple[float, float]], crowded: dict[str, float], adapters: int
) -> dict[str, Any]:
    ratios = [ours / few for ours, few in speeds]
    low, _, high = quantiles(ratios, n=4)
    return {
        "machine": machine.described(),
        "adapters": adapters,
        "slots": SLOTS,
        "rank": RANK,
        "modules": list(LINEARS),
        "rounds": len(speeds),
        "tokens_per_s": {
            str(adapters): median(ours for ours, _ in speeds),
            str(SLOTS): median(few for _, few in speeds),
        },
        "ratio": {"median": median(ratios), "low": low, "high": high},
        "skew": SKEW,
        "at_once": AT_ONCE,
        "crowded": crowded,
        "each_tokens_per_s": speeds,
    }


def report(content: dict[str, Any]) -> str:
    """The result in Markdown."""
    ratio = content["ratio"]
    share = f"{ratio['median']:.3f} ({ratio['low']:.3f}–{ratio['high']:.3f})"
    lines = [
        "# A crowd of adapters",
        "",
        f"`python -m benchmarks.crowd`: {content['adapters']} adapters over {content['slots']} "
        f"slots, SmolLM2-135M, bfloat16, {content['machine']}. The adapters are small ones, of "
        f"rank {content['rank']} on {' and '.join(f'`{name}`' for name in content['modules'])} "
        "alone, and every request has the same prompt of one line: what is measured is how many "
        "adapters there are, not what large ones weigh.",
        "",
        f"Eight requests at once, each by its own adapter, all in slots; {content['rounds']} "
        "rounds, the servers in turn.",
        "",
        "| registered | tokens a second, median |",
        "|---|---|",
        *(f"| {count} | {speed:.0f} |" for count, speed in content["tokens_per_s"].items()),
        f"| ratio within a round, median (quartiles) | {share} |",
        "",
        f"Requests by Zipf's law (exponent {content['skew']}) over all of them, "
        f"{content['at_once']} at once, 8 tokens each:",
        "",
        "| | |",
        "|---|---|",
        *(f"| {what} | {value:.3g} |" for what, value in content["crowded"].items()),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crowd", description=__doc__)
    parser.add_argument("--adapters", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    options = parser.parse_args()
    prepare()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = write_adapters(base_model_path(), folder / "made", options.adapters, RANK, LINEARS)
        with servers(folder, made) as found:
            speeds = compare(found, options.rounds)
            crowded = crowd(found["crowded"], options.adapters, options.requests)
    content = _content(speeds, crowded, options.adapters)
    print(report(content))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "crowd.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    (options.out / "crowd.md").write_text(report(content), "utf-8")


if __name__ == "__main__":
    main()
