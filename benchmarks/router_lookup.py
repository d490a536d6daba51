"""How long routing takes: one look-up among many adapters, and encoding a text.

    python -m benchmarks.router_lookup [--adapters 10000] [--encoder FOLDER] [--busy]

``--busy`` keeps every core busy meanwhile, as an engine beside the router does.
"""

import argparse
import os
from collections.abc import Callable
from functools import partial
from multiprocessing import Process
from statistics import median
from time import perf_counter

import numpy as np

from router.centroids.index import CentroidIndex
from router.encoders.sentence_transformer import SentenceTransformerEncoder
from router.fit import default_encoder
from router.policies.softmax import SoftmaxPolicy
from router.threads import one_thread

WIDTH = 384
REPEATS = 300
MEMBERS = 8
"""The most adapters of a mixture: a server's ``max_loras``."""


def timed(work: Callable[[], object], repeats: int) -> str:
    """Best, median and 95th percentile of some runs, in milliseconds."""
    work()
    times = []
    for _ in range(repeats):
        began = perf_counter()
        work()
        times.append((perf_counter() - began) * 1e3)
    late = sorted(times)[int(repeats * 0.95)]
    return f"best {min(times):8.3f}   median {median(times):8.3f}   p95 {late:8.3f} ms"


def measure(adapters: int, encoder_path: str) -> None:
    """Print the table."""
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

    print(f"{adapters} adapters, {WIDTH} dimensions, {os.cpu_count()} cores")
    print("look-up               ", timed(lambda: index.scores(embedding, MEMBERS + 1), REPEATS))
    print("plain threaded product", threaded)
    print("softmax of the best   ", timed(lambda: weigh(MEMBERS), REPEATS))
    print("softmax of all        ", timed(lambda: weigh(None), REPEATS))
    print("add one adapter       ", timed(lambda: index.put("new", "d", new), 20))
    print("encode a short text   ", timed(lambda: encoder.encode([short]), 30))
    print("encode 254 pieces     ", timed(lambda: encoder.encode([long]), 30))


def spin() -> None:
    """Keep one core busy."""
    while True:
        pass


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description="How long routing takes.")
    parser.add_argument("--adapters", type=int, default=10_000)
    parser.add_argument("--encoder", default=str(default_encoder()))
    parser.add_argument("--busy", action="store_true", help="keep every core busy meanwhile")
    given = parser.parse_args()
    spinners = [Process(target=spin, daemon=True) for _ in range(os.cpu_count() or 1)]
    if given.busy:
        for spinner in spinners:
            spinner.start()
    try:
        measure(given.adapters, given.encoder)
    finally:
        if given.busy:
            for spinner in spinners:
                spinner.terminate()


if __name__ == "__main__":
    main()
