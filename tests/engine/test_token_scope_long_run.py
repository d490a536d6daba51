"""Two thousand requests whose weights follow the answer, many of them cut short, leave nothing."""

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from server.engine.client.worker_policies import IDLE_KEPT
from tests.engine.test_token_scope import ask, same
from tests.support import running_server
from tests.support.generation import Generated, generate
from tests.support.rough_traffic import RoughTraffic
from tests.support.running_server import RunningServer
from tests.support.tiny_llama import BASE_NAME, TOPICS

REQUESTS = 2000
WARM_UP = 500
"""Until then the bounded stores fill, and the allocators find their size; the largest batches of
texts, whose room is kept, come before all else."""

EVERY = 50
"""Requests between two looks at the memory."""

MAX_TRACES = 64
MAX_STEPS = 2 * 12
"""Steps of a trace that is kept: two answers of twelve tokens at most."""

SOME_HANDLES = 8
MAX_GROWTH_KIB = 16
"""Least growth per request that is told from noise."""
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


@pytest.fixture(scope="module")
def narrow(
    tiny_base: Path,
    tiny_adapters: dict[str, Path],
    tiny_static: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    """A server of its own, so that its memory is that of these requests."""
    with running_server.running(
        tmp_path_factory.mktemp("narrow"),
        tiny_base,
        BASE_NAME,
        tiny_adapters,
        descriptions=TOPICS,
        arguments=(
            *("--dtype", "float32", "--max-loras", "10", "--max-model-len", "256", "--eager"),
            *("--static-encoder", str(tiny_static)),
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


def mebibytes(server: RunningServer) -> float:
    """Memory that server, engine and workers have for themselves."""
    first = psutil.Process(server.process.pid)
    each = [first, *first.children(recursive=True)]
    return sum(process.memory_full_info().uss for process in each) / 2**20


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


def asked(server: RunningServer) -> list[Generated]:
    """What is to be the same before and after."""
    scopes = (("token", 1), ("token", 3), ("recompute", 2))
    return generate(server, [ask(70 + n, *scope, new=8) for n, scope in enumerate(scopes)])


def handles(server: RunningServer) -> int:
    """Files and connections that the server has open."""
    return psutil.Process(server.process.pid).num_fds()


def growth(memory: list[tuple[int, float]]) -> float:
    """KiB of memory that a request costs for good, after the warm-up: the line that fits best."""
    late = [(done, size) for done, size in memory if done >= WARM_UP]
    done, size = np.array(late).T
    return float(np.polyfit(done, size, 1)[0] * 1024)


@pytest.mark.timeout(1200)
def test_two_thousand_requests_leave_nothing(narrow: RunningServer) -> None:
    before, opened = asked(narrow), handles(narrow)
    memory: list[tuple[int, float]] = []

    async def look(done: int) -> None:
        if done % EVERY == 0:
            memory.append((done, await asyncio.to_thread(mebibytes, narrow)))

    traffic = RoughTraffic(narrow)
    asyncio.run(traffic.fill())
    asyncio.run(traffic.send(REQUESTS, look))
    left = settled(narrow)

    assert traffic.ended.total() == REQUESTS
    assert traffic.ended["leaves"] + traffic.ended["leaves_at_once"] > REQUESTS / 4
    assert left["vllm:num_preemptions_total"] > 100
    assert left["weighings_total"] > REQUESTS / 2
    assert left["failed_weighings_total"] == 0
    assert {name: left[name] for name in IDLE} == dict.fromkeys(IDLE, 0)
    assert left["worker_policies"] == IDLE_KEPT, "there were more policies than are kept"
    assert left["traces"] <= MAX_TRACES
    assert left["trace_steps"] <= MAX_TRACES * MAX_STEPS
    assert left["vllm:kv_cache_usage_perc"] == 0
    assert handles(narrow) <= opened + SOME_HANDLES
    assert "Traceback" not in narrow.log.read_text()
    assert growth(memory) < MAX_GROWTH_KIB, memory
    after = asked(narrow)
    assert all(same(one, other) for one, other in zip(before, after, strict=True))
