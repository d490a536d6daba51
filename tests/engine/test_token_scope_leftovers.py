"""Requests whose weights follow the answer, many of them cut short, leave nothing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from server.engine.client.worker_policies import IDLE_KEPT
from tests.engine.test_token_scope import ask, same, weighed_alike
from tests.support.generation import Generated, generate
from tests.support.narrow_server import (
    IDLE,
    MAX_STEPS,
    MAX_TRACES,
    counters,
    narrow_server,
    settled,
)
from tests.support.rough_traffic import RoughTraffic
from tests.support.running_server import RunningServer

REQUESTS = 200
SOME_HANDLES = 8


@pytest.fixture(scope="module")
def narrow(
    tiny_base: Path,
    tiny_adapters: dict[str, Path],
    tiny_static: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("narrow")
    with narrow_server(folder, tiny_base, tiny_adapters, tiny_static) as running:
        yield running


def asked(server: RunningServer) -> list[Generated]:
    """What is to be the same before and after."""
    scopes = (("token", 1), ("token", 3), ("recompute", 2))
    return generate(server, [ask(70 + n, *scope, new=8) for n, scope in enumerate(scopes)])


def handles(server: RunningServer) -> int:
    """Files and connections that the server has open."""
    return psutil.Process(server.process.pid).num_fds()


async def nothing_more(_: int) -> None:
    """What is done between two requests here: `make soak` looks at the memory."""


def test_requests_that_are_cut_short_leave_nothing(narrow: RunningServer) -> None:
    before, opened = asked(narrow), handles(narrow)
    traffic = RoughTraffic(narrow)
    asyncio.run(traffic.fill())
    asyncio.run(traffic.send(REQUESTS, nothing_more))
    left = settled(narrow)

    assert traffic.ended.total() == REQUESTS
    assert traffic.ended["leaves"] + traffic.ended["leaves_at_once"] > REQUESTS / 4
    assert left["vllm:num_preemptions_total"] > REQUESTS / 20
    assert left["weighings_total"] > REQUESTS / 2
    assert left["failed_weighings_total"] == 0
    assert {name: left[name] for name in IDLE} == dict.fromkeys(IDLE, 0)
    assert 0 < left["worker_policies"] <= IDLE_KEPT
    assert left["traces"] <= MAX_TRACES
    assert left["trace_steps"] <= MAX_TRACES * MAX_STEPS
    assert left["vllm:kv_cache_usage_perc"] == 0
    assert handles(narrow) <= opened + SOME_HANDLES
    assert "Traceback" not in narrow.log.read_text()
    after = asked(narrow)
    assert all(same(one, other) for one, other in zip(before, after, strict=True))
    assert all(weighed_alike(one, other) for one, other in zip(before, after, strict=True))
    assert counters(narrow)["failed_weighings_total"] == 0
