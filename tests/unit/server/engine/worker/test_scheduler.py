"""Tenants share the places and the steps of vLLM's own scheduler, which computes nothing here."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from vllm import SamplingParams
from vllm.engine.arg_utils import EngineArgs
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.request import Request, RequestStatus
from vllm.v1.structured_output import StructuredOutputManager

from server.engine.messages import TENANT_KEY
from server.engine.worker.scheduler import SharingScheduler

PLACES, STEP, BLOCK, BLOCKS = 8, 64, 16, 1000

Make = Callable[[type[Scheduler]], Scheduler]


@pytest.fixture
def make(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a scheduler of few places and short steps."""
    monkeypatch.setenv("VLLM_PLUGINS", "")  # ours changes vLLM for the whole process
    config = EngineArgs(
        model=str(tiny_base),
        max_model_len=512,
        max_num_seqs=PLACES,
        max_num_batched_tokens=STEP,
        block_size=BLOCK,
        enable_prefix_caching=False,
    ).create_engine_config()
    config.cache_config.num_gpu_blocks = BLOCKS
    spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=1, dtype=torch.float32)
    cache = KVCacheConfig(BLOCKS, [], [KVCacheGroupSpec(["layer"], spec)])
    return lambda kind: kind(config, cache, StructuredOutputManager(config), BLOCK)


def ask(scheduler: Scheduler, tenant: str, number: int, length: int) -> None:
    """Add a request with a prompt of so many tokens."""
    params = SamplingParams(max_tokens=4, extra_args={TENANT_KEY: tenant} if tenant else None)
    scheduler.add_request(Request(f"{tenant}-{number}", [1] * length, params, None))


def step(scheduler: Scheduler) -> dict[str, int]:
    """How many tokens of each request the next step computes."""
    return dict(scheduler.schedule().num_scheduled_tokens)


@pytest.mark.parametrize("kind", [SharingScheduler, Scheduler])
def test_a_short_prompt_is_computed_beside_another_tenants_long_one(make, kind):
    scheduler = make(kind)
    ask(scheduler, "a", 0, 5 * STEP)
    assert step(scheduler) == {"a-0": STEP}
    ask(scheduler, "b", 0, 5)
    shared = {"a-0": STEP // 2, "b-0": 5}
    assert step(scheduler) == (shared if kind is SharingScheduler else {"a-0": STEP})
    assert step(scheduler) == {"a-0": STEP}, "nobody waits"


@pytest.mark.parametrize("kind", [SharingScheduler, Scheduler])
def test_long_prompts_of_two_tenants_share_every_step(make, kind):
    scheduler = make(kind)
    ask(scheduler, "a", 0, 5 * STEP)
    step(scheduler)
    ask(scheduler, "b", 0, 3 * STEP // 2)
    computed = [step(scheduler) for _ in range(4)]
    shared = {"a-0": STEP // 2, "b-0": STEP // 2}
    assert computed == (
        [shared] * 3 + [{"a-0": STEP}] if kind is SharingScheduler else [{"a-0": STEP}] * 4
    )


def test_many_long_prompts_of_one_tenant_take_no_more_of_a_step_than_one_of_another(make):
    scheduler = make(SharingScheduler)
    for number in range(4):
        ask(scheduler, "a", number, 5 * STEP)
    step(scheduler)
    for number in range(3):  # what such a short one leaves of its half, one more begins with
        ask(scheduler, f"b{number}", 0, 5)
        assert step(scheduler)[f"b{number}-0"] == 5
    ask(scheduler, "c", 0, STEP)
    assert step(scheduler) == dict.fromkeys(["a-0", "a-1", "a-2", "a-3", "c-0"], STEP // 8)
    assert step(scheduler) == {"a-0": STEP // 2, "c-0": STEP // 2}


@pytest.mark.parametrize("tenant", ["a", ""])
def test_a_tenants_own_prompts_come_one_after_the_other(make, tenant):
    scheduler = make(SharingScheduler)
    ask(scheduler, tenant, 0, 2 * STEP)
    step(scheduler)
    ask(scheduler, tenant, 1, 5)
    assert step(scheduler) == {f"{tenant}-0": STEP}
    assert step(scheduler) == {f"{tenant}-1": 5}


@pytest.mark.parametrize("kind", [SharingScheduler, Scheduler])
def test_a_place_is_left_to_who_comes_next(make, kind):
    scheduler = make(kind)
    for number in range(3 * PLACES):
        ask(scheduler, "a", number, 2)
    begun = step(scheduler)
    assert len(begun) == (6 if kind is SharingScheduler else PLACES)
    ask(scheduler, "b", 0, 2)
    assert step(scheduler) == ({"b-0": 2} if kind is SharingScheduler else {})
    _, waiting = scheduler.get_request_counts()
    assert waiting == 3 * PLACES + 1 - len(begun) - (kind is SharingScheduler)


def test_a_request_of_nobody_waits_like_any_other(make):
    scheduler = make(SharingScheduler)
    for tenant in ("a", "b"):
        ask(scheduler, tenant, 0, 3 * STEP)
        step(scheduler)
    ask(scheduler, "", 0, 5)
    assert step(scheduler)["-0"] == 5


@pytest.mark.parametrize("tenants", [("a", "b", "c"), ("",), ("a", "")])
def test_everybody_comes_to_an_end(make, tenants):
    scheduler, asked = make(SharingScheduler), set()
    for number in range(2 * PLACES):
        for tenant in tenants:
            ask(scheduler, tenant, number, 2 + number)
            asked.add(f"{tenant}-{number}")
    for _ in range(len(asked)):
        for one in step(scheduler):
            scheduler.finish_requests(one, RequestStatus.FINISHED_ABORTED)
            asked.discard(one)
    assert asked == set()
