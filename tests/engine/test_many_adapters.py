"""Many adapters over eight slots: every request gets its own, whatever comes and goes.

`make soak` has a thousand.
"""

import asyncio
import os
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import running_server
from tests.support.generation import Ask, Generated, generate
from tests.support.running_server import RunningServer
from tests.support.tiny_llama import BASE_NAME
from tests.support.variants import variant

pytestmark = pytest.mark.timeout(1800)  # a busy machine takes a second a load

ADAPTERS = int(os.environ.get("MANY_ADAPTERS", "100"))
SLOTS = 8
REQUESTS = ADAPTERS // 2
AT_ONCE = 24
SAMPLED = ADAPTERS // 20
SKEW = 1.1
"""Exponent of Zipf's law: the first adapter is asked for about a sixth of the time."""

ARGUMENTS = ("--dtype", "float32", "--max-loras", str(SLOTS), "--max-model-len", "256", "--eager")
PATIENT = {"LORALLOY_RESIDENCY__MAX_WAIT_S": "240"}


@pytest.fixture(scope="module")
def crowded(
    tiny_base: Path, tiny_adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server of few slots that knows many adapters."""
    folder = tmp_path_factory.mktemp("crowded")
    server = running_server.start(
        folder, tiny_base, BASE_NAME, arguments=ARGUMENTS, environment=PATIENT
    )

    def push(number: int) -> int:
        made = variant(tiny_adapters["r8-a"], folder / "made" / str(number), number)
        pushed = running_server.push(server, f"a{number}", made)
        shutil.rmtree(made)
        return pushed.status_code

    try:
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(push, range(ADAPTERS))) == {201}
        yield server
    finally:
        running_server.stop(server)


def asks() -> list[Ask]:
    """Requests whose adapters are drawn by Zipf's law; a third of them mix two or three."""
    rng = random.Random(17)
    weights = [1 / (rank + 1) ** SKEW for rank in range(ADAPTERS)]
    made = []
    for _ in range(REQUESTS):
        drawn = rng.choices(range(ADAPTERS), weights, k=rng.choice((1, 1, 1, 1, 2, 3)))
        names = sorted({f"a{number}" for number in drawn})
        shares = {name: round(rng.uniform(0.2, 0.8), 3) for name in names}
        prompt = tuple(rng.randrange(30, 900) for _ in range(rng.randrange(3, 30)))
        made.append(Ask(prompt, {"mixture": {"adapters": shares}}, max_tokens=8))
    return made


async def flow(server: RunningServer, wanted: list[Ask]) -> list[Generated]:
    """All answers, so many requests at a time."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(ask: Ask) -> Generated:
        async with gate:
            return (await asyncio.to_thread(generate, server, [ask]))[0]

    return list(await asyncio.gather(*map(one, wanted)))


def counted(server: RunningServer) -> dict[str, float]:
    with server.client() as client:
        told = client.get("/metrics").text
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(told)
        for sample in family.samples
        if not sample.labels
    }


def test_every_answer_is_the_one_it_gets_alone(crowded: RunningServer) -> None:
    wanted = asks()
    before = counted(crowded)
    found = asyncio.run(flow(crowded, wanted))
    after = counted(crowded)
    assert len(found) == REQUESTS
    for place in random.Random(18).sample(range(REQUESTS), SAMPLED):
        (alone,) = generate(crowded, [wanted[place]])
        assert found[place].tokens == alone.tokens, wanted[place]
        assert found[place].mixture == alone.mixture
        for here, there in zip(found[place].top, alone.top, strict=True):
            shared = here.keys() & there.keys()
            assert max(abs(here[token] - there[token]) for token in shared) <= 1e-3
    assert crowded.alive()
    hits = after["loralloy_residency_hits_total"] - before["loralloy_residency_hits_total"]
    misses = after["loralloy_residency_misses_total"] - before["loralloy_residency_misses_total"]
    assert hits + misses == REQUESTS
    # Slots were short, and yet the adapters that are asked for most stayed in them.
    assert after["loralloy_evictions_total"] - before["loralloy_evictions_total"] > SLOTS
    assert hits > 0
    for gauge in ("leases", "waiting_requests", "adapter_uses"):
        assert after[f"loralloy_{gauge}"] == 0, gauge
    assert after["loralloy_adapters"] == ADAPTERS
    assert after["loralloy_resident_adapters"] == SLOTS


def test_unlike_adapters_answer_unlike(crowded: RunningServer) -> None:
    prompt = tuple(range(40, 60))
    found = generate(crowded, [Ask(prompt, {"model": f"a{number}"}) for number in range(6)])
    assert len({tuple(one.tokens) for one in found}) == 6
