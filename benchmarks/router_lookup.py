"""How long routing takes: one look-up among many adapters, and encoding a text.

    python -m benchmarks.router_lookup [--adapters 10000] [--encoder FOLDER] [--out FOLDER]

Once with nothing beside it, as far as the machine allows, and once while as many programs as there
are cores keep them busy, as an engine beside the router does.
"""

import argparse
import json
import os
from collections.abc import Callable
from functools import partial
from multiprocessing import Process, get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import machine
from router.centroids.index import CentroidIndex
from router.encoders.sentence_transformer import SentenceTransformerEncoder
from router.fit import default_encoder
from router.policies.softmax import SoftmaxPolicy
from router.threads import one_thread

RESULTS = Path(__file__).parent / "results"
WIDTH = 384
REPEATS = 300
MEMBERS = 8
"""The most adapters of a mixture: a server's ``max_loras``."""


Timed = dict[str, dict[str, float]]
"""What was timed → best, median and 95th percentile, in milliseconds."""


def timed(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Best, median and 95th percentile of some runs, in milliseconds."""
    work()
    times = []
    for _ in range(repeats):
        began = perf_counter()
        work()
        times.append((perf_counter() - began) * 1e3)
    late = sorted(times)[int(repeats * 0.95)]
    return {"best": min(times), "median": median(times), "p95": late}


def measure(adapters: int, encoder_path: str) -> Timed:
    """Time everything once."""
    rng = np.random.default_rng(0)
    embedding = rng.standard_normal(WIDTH).astype(np.float32)
    rows = rng.standard_normal((adapters, WIDTH)).astype(np.float32)
    threaded = timed(lambda: rows @ embedding, REPEATS)
    one_thread()  # as a server does
    index = CentroidIndex()
    index.put_all((f"a{i}", "d", rng.standard_normal(WIDTH)) for i in range(adapters))
    scores = index.scores(embedding)
    weigh = partial(SoftmaxPolicy().weigh, scores.cosines, ())
    new = rng.standard_normal(WIDTH)
    encoder = SentenceTransformerEncoder(encoder_path, cache_size=0)
    short, long = "What is 12 times 7?", "The quick brown fox jumps over the lazy dog. " * 60
    return {
        "look-up": timed(lambda: index.scores(embedding, MEMBERS + 1), REPEATS),
        "plain product, all threads": threaded,
        "weights of the best": timed(lambda: weigh(MEMBERS), REPEATS),
        "softmax of all": timed(lambda: weigh(None), REPEATS),
        "add one adapter": timed(lambda: index.put("new", "d", new), 20),
        "embed a short text": timed(lambda: encoder.encode([short]), 30),
        "embed 254 word pieces": timed(lambda: encoder.encode([long]), 30),
    }


def spin() -> None:
    """Keep one core busy."""
    while True:
        pass


def _measured_in_a_process(adapters: int, encoder: str, spinners: int) -> Timed:
    """Measured in a process of its own, since the number of threads is set once in each."""
    beside = [Process(target=spin, daemon=True) for _ in range(spinners)]
    for one in beside:
        one.start()
    try:
        with get_context("spawn").Pool(1) as pool:
            return pool.apply(measure, (adapters, encoder))
    finally:
        for one in beside:
            one.terminate()


def report(content: dict[str, Any]) -> str:
    """The result in Markdown."""
    ways = content["ms"]
    lines = [
        "# Looking up adapters",
        "",
        f"`python -m benchmarks.router_lookup`, {content['machine']}: {content['adapters']} "
        f"adapters of one centroid each, {content['width']} dimensions. Best, median and 95th "
        "percentile, in milliseconds.",
        "",
        f"| | {' | '.join(ways)} |",
        "|---|" + "---|" * len(ways),
    ]
    for what in next(iter(ways.values())):
        cells = [", ".join(f"{value:.2f}" for value in way[what].values()) for way in ways.values()]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the options, measure and save."""
    parser = argparse.ArgumentParser(description="How long routing takes.")
    parser.add_argument("--adapters", type=int, default=10_000)
    parser.add_argument("--encoder", default=str(default_encoder()))
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    given = parser.parse_args()
    content = {
        "machine": machine.described(),
        "adapters": given.adapters,
        "width": WIDTH,
        "ms": {
            "alone": _measured_in_a_process(given.adapters, given.encoder, 0),
            "every core busy": _measured_in_a_process(
                given.adapters, given.encoder, os.cpu_count() or 1
            ),
        },
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "router_lookup.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    (given.out / "router_lookup.md").write_text(report(content), "utf-8")
    print(report(content))


if __name__ == "__main__":
    main()
