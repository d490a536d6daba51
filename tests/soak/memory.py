"""Two thousand requests whose weights follow the answer, many of them cut short, cost no memory."""

import asyncio
from pathlib import Path

import numpy as np
import psutil
import pytest

from server.engine.client.worker_policies import IDLE_KEPT
from tests.support.narrow_server import narrow_server, settled
from tests.support.rough_traffic import RoughTraffic
from tests.support.running_server import RunningServer

REQUESTS = 2000
WARM_UP = 500
"""Until then the bounded stores fill, and the allocators find their size; the largest batches of
texts, whose room is kept, come before all else."""

EVERY = 50
"""Requests between two looks at the memory."""

MAX_GROWTH_KIB = 16
"""Least growth per request that is told from noise."""


def mebibytes(server: RunningServer) -> float:
    """Memory that server, engine and workers have for themselves."""
    first = psutil.Process(server.process.pid)
    each = [first, *first.children(recursive=True)]
    return sum(process.memory_full_info().uss for process in each) / 2**20


def growth(memory: list[tuple[int, float]]) -> float:
    """KiB of memory that a request costs for good, after the warm-up: the line that fits best."""
    late = [(done, size) for done, size in memory if done >= WARM_UP]
    done, size = np.array(late).T
    return float(np.polyfit(done, size, 1)[0] * 1024)


@pytest.mark.timeout(1800)
def test_two_thousand_requests_cost_no_memory(
    tiny_base: Path, tiny_adapters: dict[str, Path], tiny_static: Path, tmp_path: Path
) -> None:
    memory: list[tuple[int, float]] = []
    with narrow_server(tmp_path, tiny_base, tiny_adapters, tiny_static) as server:
        traffic = RoughTraffic(server)

        async def look(done: int) -> None:
            if done % EVERY == 0:
                memory.append((done, await asyncio.to_thread(mebibytes, server)))

        asyncio.run(traffic.fill())
        asyncio.run(traffic.send(REQUESTS, look))
        left = settled(server)
    assert traffic.ended.total() == REQUESTS
    assert left["worker_policies"] == IDLE_KEPT, "there were more policies than are kept"
    assert growth(memory) < MAX_GROWTH_KIB, memory
