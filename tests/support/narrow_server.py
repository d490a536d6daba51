"""A server with less room than its clients want, and what of their requests it still holds."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support import running_server
from tests.support.running_server import RunningServer
from tests.support.tiny_llama import BASE_NAME, TOPICS

MAX_TRACES = 64
MAX_STEPS = 2 * 12
"""Steps of a trace that is kept: two answers of twelve tokens at most."""

NARROW = {
    "OMP_NUM_THREADS": "1",  # threads that wait for each other's ends help no model this small
    # Caches of compiled matrix products, and heaps by thread, would fill for hours.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    "MALLOC_ARENA_MAX": "1",
    # What is freed goes back to the system at once, so that what is measured is what is held, and
    # not how much the largest batch of texts so far took to embed.
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "LORALLOY_ENGINE__BLOCK_SIZE": "32",
    "LORALLOY_ENGINE__NUM_GPU_BLOCKS": "48",
    "LORALLOY_ENGINE__MAX_NUM_BATCHED_TOKENS": "256",
    "LORALLOY_ENGINE__MAX_NUM_SEQS": "16",
    "LORALLOY_TRACES__MAX_TRACES": str(MAX_TRACES),
}
"""Less room than 32 clients want: requests wait, and are preempted."""

IDLE = (
    *("leases", "waiting_requests", "running_traces", "open_traces"),
    *("adapter_uses", "following_requests", "gate_logs"),
)
"""Gauges that are 0 when nothing runs."""


@contextmanager
def narrow_server(
    folder: Path, base: Path, adapters: dict[str, Path], static_encoder: Path
) -> Iterator[RunningServer]:
    """A server of one's own, so that what it holds is of one's own requests."""
    with running_server.running(
        folder,
        base,
        BASE_NAME,
        adapters,
        descriptions=TOPICS,
        arguments=(
            *("--dtype", "float32", "--max-loras", "10", "--max-model-len", "256", "--eager"),
            *("--static-encoder", str(static_encoder)),
        ),
        environment=NARROW,
    ) as running:
        yield running


def counters(server: RunningServer) -> dict[str, float]:
    """Every metric without labels, and vLLM's own summed over theirs."""
    found: dict[str, float] = {}
    for line in httpx.get(f"{server.url}/metrics", timeout=60).text.splitlines():
        if told := re.match(r"(?:loralloy_)?([\w:]+?)(?:\{.*\})? (\S+)$", line):
            found[told[1]] = found.get(told[1], 0) + float(told[2])
    return found


def settled(server: RunningServer) -> dict[str, float]:
    """The counters once nothing runs and the workers have been asked since."""
    deadline = time.monotonic() + 60
    while True:
        seen = counters(server)
        if not any(seen[name] for name in (*IDLE, "vllm:num_requests_running")):
            time.sleep(11)  # workers are asked every five seconds
            return counters(server)
        assert time.monotonic() < deadline, {name: seen[name] for name in IDLE}
        time.sleep(0.2)
