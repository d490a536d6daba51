"""What one key can do to another, and to ``/health``: ``make fairness``.

A real server with two keys. One key's workers send an attack without pause; beside them the other
key asks for one token again and again, and ``/health`` is asked ten times a second. Held against
the same beside as many ordinary full-length requests of the first key.
"""

import argparse
import ast
import http.client
import itertools
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.console import Console
from rich.progress import track

from benchmarks import machine
from benchmarks.fairness.attacks import ATTACKS, LENGTH, Attack, ids, written
from benchmarks.fairness.hostile import ONE_PROMPT, ORDINARY
from server.prepare import base_model_path, prepare
from tests.support.running_server import RunningServer, push, start, stop

RESULTS: Final = Path(__file__).parents[1] / "results"
DEMO: Final = Path(__file__).parents[2] / "examples" / "adapters" / "maths"
HOSTILE, OTHER = "the hostile key", "the other key"
KEYS: Final = {HOSTILE: "hostile-0000000000000000", OTHER: "other-000000000000000000"}
AIMS: Final = {"times": 3.0, "health_median_ms": 100.0, "health_p99_ms": 300.0}
HEALTH_EVERY_S: Final = 0.1
SETTLE_S: Final = 2.0
"""How long an attack runs before anything beside it is measured."""

QUICK_S: Final = 1.0
QUICK_IN_TURN: Final = 3
"""The engine is idle when so many tokens in turn take no longer than this each."""

STEPS: Final = (2048, 512, 256)
"""Tokens of a step, ``max_num_batched_tokens``, beside which a full-length prompt is measured."""

PATIENCE_S: Final = 60
"""Longest wait for one token; who waits longer has waited at least so long."""


@dataclass(frozen=True)
class Beside:
    """What was measured beside one load.

    Attributes:
        title: of the load.
        workers: how many send it.
        token_s: seconds that each one-token completion took.
        health_ms: milliseconds that each ``/health`` took.
        statuses: status → how many answers of the load had it; 0: cut short.
    """

    title: str
    workers: int
    token_s: list[float]
    health_ms: list[float]
    statuses: dict[int, int]

    @property
    def token(self) -> float:
        """The median."""
        return median(self.token_s)

    @property
    def health(self) -> tuple[float, float]:
        """Median and 99th percentile."""
        return median(self.health_ms), quantiles(self.health_ms, n=100, method="inclusive")[98]


class Hostile:
    """The process of the hostile key's workers."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fairness.hostile", url, KEYS[HOSTILE]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, title: str) -> None:
        """Let an attack begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{title}\n")
        self._process.stdin.flush()

    def end(self) -> dict[int, int]:
        """End it; what it was answered."""
        assert self._process.stdout is not None
        self.begin("stop")
        statuses: dict[int, int] = ast.literal_eval(self._process.stdout.readline())
        return statuses

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def timed(server: RunningServer, method: str, path: str, body: bytes | None = None) -> float:
    """Seconds that one request of the other key takes, connection included."""
    address = server.url.removeprefix("http://")
    headers = {"Authorization": f"Bearer {KEYS[OTHER]}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
    begun = time.perf_counter()
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, f"{path}: {answer.status}"
    except TimeoutError:
        return float(PATIENCE_S)
    finally:
        connection.close()
    return time.perf_counter() - begun


class HealthWatch(threading.Thread):
    """Asks ``/health`` again and again, each time on a connection of its own."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._ended = threading.Event()
        self.ms: list[float] = []

    def run(self) -> None:
        """Until it is told to end."""
        while not self._ended.wait(HEALTH_EVERY_S):
            self.ms.append(1e3 * timed(self._server, "GET", "/health"))

    def end(self) -> list[float]:
        """What was measured."""
        self._ended.set()
        self.join()
        return self.ms


def settle(server: RunningServer, numbers: "itertools.count[int]") -> None:
    """Wait until what was cut short has left the engine, so that it does not count for the next."""
    time.sleep(SETTLE_S)
    end = time.monotonic() + PATIENCE_S
    quick = 0
    while quick < QUICK_IN_TURN and time.monotonic() < end:
        quick = quick + 1 if one_token(server, numbers) < QUICK_S else 0


def one_token(server: RunningServer, numbers: "itertools.count[int]") -> float:
    """Seconds that one token of the other key takes."""
    asked = {"model": "base", "prompt": ids(next(numbers), 16), "max_tokens": 1}
    return timed(server, "POST", "/v1/completions", written(asked))


def beside(
    server: RunningServer,
    hostile: Hostile | None,
    attack: Attack | None,
    seconds: float,
    numbers: "itertools.count[int]",
) -> Beside:
    """Measure beside an attack, or beside nothing."""
    if hostile is not None and attack is not None:
        hostile.begin(attack.title)
        time.sleep(SETTLE_S)
    watch = HealthWatch(server)
    watch.start()
    tokens: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        tokens.append(one_token(server, numbers))
    health = watch.end()
    statuses = hostile.end() if hostile is not None and attack is not None else {}
    settle(server, numbers)
    title, workers = (attack.title, attack.workers) if attack else ("nothing", 0)
    return Beside(title, workers, tokens, health, statuses)


@contextmanager
def serving(tokens: int | None, dtype: str) -> Iterator[RunningServer]:
    """A server with two keys, and so many tokens in a step at most; by default as it comes."""
    variable = "LORALLOY_ENGINE__MAX_NUM_BATCHED_TOKENS"
    step = {} if tokens is None else {variable: str(tokens)}
    with TemporaryDirectory() as folder:
        server = start(
            Path(folder),
            base_model_path(),
            "base",
            arguments=("--dtype", dtype, "--max-model-len", str(LENGTH)),
            environment={
                "LORALLOY_API_KEYS": ",".join(KEYS.values()),
                "LORALLOY_ENGINE__COMPILE": "never",
                **step,
            },
        )
        try:
            push(replace(server, api_key=KEYS[HOSTILE]), "maths", DEMO).raise_for_status()
            yield server
        finally:
            stop(server)


def measure_attacks(dtype: str, seconds: float) -> tuple[list[Beside], list[Beside]]:
    """Beside ordinary loads, before and after; beside each attack."""
    numbers = itertools.count(1_000_000)
    with serving(None, dtype) as server:
        hostile = Hostile(server.url)
        try:
            beside(server, None, None, seconds / 2, numbers)  # the first requests warm up
            held = [beside(server, None, None, seconds, numbers)]
            held += [
                beside(server, hostile, one, 2 * seconds, numbers) for one in ORDINARY.values()
            ]
            found = [beside(server, hostile, one, seconds, numbers) for one in track(ATTACKS)]
            held += [beside(server, hostile, one, seconds, numbers) for one in ORDINARY.values()]
        finally:
            hostile.close()
    return held, found


def measure_steps(dtype: str, seconds: float) -> dict[int, dict[str, Any]]:
    """Tokens of a step → what one full-length prompt after another does to one token."""
    measured: dict[int, dict[str, Any]] = {}
    for tokens in track(STEPS, "steps"):
        numbers = itertools.count(2_000_000)
        with serving(tokens, dtype) as server:
            hostile = Hostile(server.url)
            try:
                alone = beside(server, None, None, seconds, numbers)
                begun = time.monotonic()
                loaded = beside(server, hostile, ONE_PROMPT, 2 * seconds, numbers)
                took = time.monotonic() - begun - SETTLE_S
                hostile.begin(ONE_PROMPT.title)
                time.sleep(2 * seconds)
                undisturbed = hostile.end().get(200, 0) * LENGTH / (2 * seconds)
            finally:
                hostile.close()
        measured[tokens] = {
            "alone_s": alone.token,
            "beside_s": loaded.token,
            "longest_s": max(loaded.token_s),
            "prompt_tokens_per_s": undisturbed,
            "prompt_tokens_per_s_beside": loaded.statuses.get(200, 0) * LENGTH / took,
        }
    return measured


def usual(held: list[Beside], workers: int) -> float:
    """Seconds of one token beside so many ordinary requests, before and after together."""
    return median([second for one in held if one.workers == workers for second in one.token_s])


def report(content: Mapping[str, Any], held: list[Beside], found: list[Beside]) -> str:
    """What was measured, in Markdown."""
    lines = [
        "# One key beside another",
        "",
        f"`{content['command']}`, {content['machine']}, load of the machine before: "
        f"{content['load']}. SmolLM2-135M, {content['dtype']}, `max_model_len` {LENGTH}, not "
        "compiled.",
    ]
    if found:
        lines += _beside_attacks(held, found)
    if content["steps"]:
        lines += _by_steps(content["steps"])
    return "\n".join(lines) + "\n"


def _beside_attacks(held: list[Beside], found: list[Beside]) -> list[str]:
    lines = [
        "",
        "Seconds of a one-token completion of one key, milliseconds of `/health`, while the "
        "workers of another key send without pause. *Times*: against as many ordinary full-length "
        "requests (1,536 tokens of prompt, 512 of answer), before and after together. Aims: at "
        f"most {AIMS['times']:g} times, `/health` at most {AIMS['health_median_ms']:g} ms in the "
        f"median and {AIMS['health_p99_ms']:g} at the 99th percentile.",
        "",
        "| beside | workers | one token, s | times | health, ms: median | 99 % | answers |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in (*held, *found):
        times = f"{one.token / usual(held, one.workers):.2f}" if one in found else ""
        middle, high = one.health
        answers = ", ".join(f"{count} × {status}" for status, count in one.statuses.items())
        lines.append(
            f"| {one.title} | {one.workers} | {one.token:.2f} | {times} | {middle:.0f} "
            f"| {high:.0f} | {answers} |"
        )
    return lines


def _by_steps(steps: Mapping[int, Mapping[str, float]]) -> list[str]:
    return [
        "",
        "What one full-length prompt after another does to one token of another key, by the most "
        "tokens of a step (`max_num_batched_tokens`), and what that costs the prompts:",
        "",
        "| tokens of a step | one token alone, s | beside prompts, s | the longest, s "
        "| prompts alone, tokens/s | beside one-token requests |",
        "|---|---|---|---|---|---|",
        *(
            f"| {tokens} | {row['alone_s']:.2f} | {row['beside_s']:.2f} | {row['longest_s']:.2f} "
            f"| {row['prompt_tokens_per_s']:.0f} | {row['prompt_tokens_per_s_beside']:.0f} |"
            for tokens, row in steps.items()
        ),
    ]


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="make fairness", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of each attack")
    parser.add_argument("--dtype", default="float32", choices=["bfloat16", "float32"])
    parser.add_argument("--only", choices=["attacks", "steps"], help="leave the other part out")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    load = ", ".join(f"{one:.2f}" for one in os.getloadavg())
    prepare()
    held: list[Beside] = []
    found: list[Beside] = []
    steps: dict[int, dict[str, Any]] = {}
    if options.only != "steps":
        held, found = measure_attacks(options.dtype, options.seconds)
    if options.only != "attacks":
        steps = measure_steps(options.dtype, options.seconds)
    given = shlex.join(sys.argv[1:])
    content = {
        "command": f'make fairness ARGS="{given}"' if given else "make fairness",
        "machine": machine.described(),
        "load": load,
        "dtype": options.dtype,
        "seconds": options.seconds,
        "aims": AIMS,
        "ordinary": [asdict(one) for one in held],
        "attacks": [
            {
                **asdict(one),
                "token_median_s": one.token,
                "times": one.token / usual(held, one.workers),
                "health_median_ms": one.health[0],
                "health_p99_ms": one.health[1],
            }
            for one in found
        ],
        "steps": steps,
    }
    table = report(content, held, found)
    Console().print(table)
    options.out.mkdir(parents=True, exist_ok=True)
    name = f"fairness_{options.only}" if options.only else "fairness"
    (options.out / f"{name}.md").write_text(table)
    (options.out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
