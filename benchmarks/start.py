"""How long a start takes, until the first answer, and a stop: ``make bench-start``.

The bundled model with the demo adapters, as the README starts it, from warm caches: each server has
started once before anything is measured. Another checkout's server can be measured in turn
(``--beside FOLDER``), with this environment's libraries.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import httpx
from rich.console import Console
from rich.progress import track

from benchmarks import machine
from server.prepare import prepare
from tests.support.running_server import free_port

RESULTS = Path(__file__).parent / "results"
HERE: Final = Path(__file__).parents[1]
LONGEST_S: Final = 1_800
"""A first start of an older checkout compiles for many minutes."""

POLL_S: Final = 0.2

ASKED: Final = {
    "model": "auto",
    "max_tokens": 8,
    "messages": [{"role": "user", "content": "If 3 pens cost 12 pounds, what do 5 pens cost?"}],
}
MEASURED: Final = {
    "ready": "ready",
    "answered": "first answer",
    "stopped": "stop, from Ctrl-C",
}
Seconds = dict[str, list[float]]


def measure(checkout: Path, data_dir: Path) -> dict[str, float]:
    """Start, ask, stop; seconds of each, from where it begins."""
    port = free_port()
    command = [sys.executable, "-m", "server", "--port", str(port), "--data-dir", str(data_dir)]
    url = f"http://127.0.0.1:{port}"
    log = data_dir.with_suffix(".log")
    # One client, since to make one takes as long as many looks.
    with log.open("wb") as output, httpx.Client(base_url=url, timeout=LONGEST_S) as http:
        began = time.monotonic()
        process = subprocess.Popen(
            command, cwd=checkout, stdout=output, stderr=output, env=_environment(checkout)
        )
        try:
            while not _is_ready(http):
                if process.poll() is not None or time.monotonic() - began > LONGEST_S:
                    sys.exit(f"{checkout.name} did not start:\n{log.read_text()[-2000:]}")
                time.sleep(POLL_S)
            ready = time.monotonic() - began
            answer = http.post("/v1/chat/completions", json=ASKED)
            answer.raise_for_status()
            answered = time.monotonic() - began
            ending = time.monotonic()
            process.send_signal(signal.SIGINT)
            process.wait()
            stopped = time.monotonic() - ending
        finally:
            process.kill()
            process.wait()
    return {"ready": ready, "answered": answered, "stopped": stopped}


def _environment(checkout: Path) -> dict[str, str]:
    """Bytecode is kept, the checkout comes first, and what compiles does so before it is ready."""
    values = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    values["PYTHONPATH"] = str(checkout)
    if (checkout / "server" / "engine" / "compile_ahead.py").exists():
        values["LORALLOY_ENGINE__COMPILE"] = "start"  # older checkouts know nothing else
    return values


def _is_ready(http: httpx.Client) -> bool:
    try:
        return http.get("/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def report(found: Mapping[str, Seconds]) -> str:
    """The table in Markdown."""
    rounds = len(next(iter(found.values()))["ready"])
    lines = [
        "# Starts and stops",
        "",
        f"`make bench-start`, {rounds} rounds in turn, {machine.described()}. The bundled model "
        "with the demo adapters, as the README starts it, each server's caches warm. Seconds, "
        "medians (all rounds).",
        "",
        "| server | " + " | ".join(MEASURED.values()) + " |",
        "|---" * (len(MEASURED) + 1) + "|",
    ]
    for name, seconds in found.items():
        cells = [
            f"{median(seconds[key]):.1f} ({', '.join(f'{one:.1f}' for one in seconds[key])})"
            for key in MEASURED
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="make bench-start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beside", type=Path, help="folder of another checkout")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    prepare()
    checkouts = {"this one": HERE}
    if options.beside is not None:
        checkouts = {
            f"before ({machine.commit_of(options.beside)})": options.beside.resolve(),
            **checkouts,
        }
    found: dict[str, Seconds] = {name: {key: [] for key in MEASURED} for name in checkouts}
    with TemporaryDirectory() as folder:
        data = {name: Path(folder) / str(place) for place, name in enumerate(checkouts)}
        for name, checkout in checkouts.items():
            measure(checkout, data[name])
        for _ in track(range(options.rounds), "rounds"):
            for name, checkout in checkouts.items():
                for key, seconds in measure(checkout, data[name]).items():
                    found[name][key].append(round(seconds, 2))
    table = report(found)
    Console().print(table)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "start.md").write_text(table)
    medians = {
        name: {key: median(each) for key, each in seconds.items()}
        for name, seconds in found.items()
    }
    content = {"machine": machine.described(), "medians": medians, "seconds": found}
    (options.out / "start.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
