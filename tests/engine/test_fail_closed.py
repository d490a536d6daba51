"""vLLM's client, as we give it to vLLM's routes, refuses whatever comes without a plan.

In a process of its own, since vLLM is never imported into the tests'; without an engine, since a
refusal comes before anything is asked of one: whatever went on would fail in another way.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(next(iter(find_spec("vllm").submodule_search_locations)))

SCRIPT = """
import asyncio, json, sys
from vllm import SamplingParams
from vllm.pooling_params import PoolingParams
from router.mixture import BASE_MODEL
from server.engine.client.mixing_llm import MixingLLM
from server.engine.client.plan import GenerationPlan, planned

PROMPT = {"type": "token", "prompt_token_ids": [1, 2]}
PLAN = GenerationPlan((BASE_MODEL,))

async def inputs():
    yield PROMPT

async def drained(outputs):
    async for _ in outputs:
        pass

def made():
    return MixingLLM.__new__(MixingLLM)

def generate(prompt=PROMPT):
    return lambda: drained(made().generate(prompt, SamplingParams(), "r-0"))

def add(prompt=PROMPT, params=None):
    return lambda: made().add_request("r-0", prompt, params or SamplingParams())

def encode():
    async def run():
        await drained(made().encode(PROMPT, PoolingParams(), "r-0"))
    return run

WAYS = {
    "generate": (None, generate()),
    "generate by a stream": (None, generate(inputs())),
    "generate by an ended plan": ("ended", generate()),
    "generate by a plan of no mixture": (GenerationPlan(()), generate()),
    "add_request": (None, add()),
    "add_request of a beam": (None, add({**PROMPT, "cache_salt": "x"}, SamplingParams(n=1))),
    "add_request by an ended plan": ("ended", add()),
    "add_request of a text": (PLAN, add("text")),
    "add_request of ids": (PLAN, add([1, 2])),
    "add_request of a stream": (PLAN, add(inputs())),
    "add_request of a pooling": (PLAN, add(PROMPT, PoolingParams())),
    "add_request of a pooling without a plan": (None, add(PROMPT, PoolingParams())),
    "encode": (None, encode()),
    "encode under a plan": (PLAN, encode()),
    "generate under a plan": (PLAN, generate()),
    "add_request under a plan": (PLAN, add()),
}

async def tried(plan, way):
    if plan == "ended":
        with planned(PLAN):
            task = asyncio.create_task(asyncio.sleep(0.01))
            context = __import__("contextvars").copy_context()
        await task
        return await asyncio.create_task(outcome(way), context=context)
    if plan is None:
        return await outcome(way)
    with planned(plan):
        return await outcome(way)

async def outcome(way):
    try:
        await way()
    except Exception as error:  # which one it is, is what the test compares
        return type(error).__name__
    return "done"

async def run():
    return {name: await tried(plan, way) for name, (plan, way) in WAYS.items()}

sys.stdout.write("told " + json.dumps(asyncio.run(run())))
"""

LEFT_ALONE = {
    *("is_running", "is_stopped", "errored", "dead_error", "get_kv_event_sources"),
    *("check_admission", "abort", "notify_kv_transfer_request_rejected", "is_tracing_enabled"),
    *("do_log_stats", "check_health", "start_profile", "stop_profile", "reset_mm_cache"),
    *("reset_encoder_cache", "reset_prefix_cache", "sleep", "release_kv_cache_memory", "wake_up"),
    *("is_sleeping", "add_lora", "pause_generation", "resume_generation", "is_paused", "shutdown"),
    *("scale_elastic_ep", "collective_rpc", "compute_weight_checksums", "handle_fault"),
    *("get_status", "get_supported_tasks", "init_weight_transfer_engine", "update_weights"),
    *("shutdown_weight_transfer_engine", "start_weight_update", "start_draft_weight_update"),
    *("finish_weight_update", "update_weight_version", "get_weight_version"),
}
"""What vLLM's routes may ask its client that makes nothing from a prompt."""


@pytest.fixture(scope="module")
def told() -> Mapping[str, str]:
    """Way into the engine → what came of it: the name of an error."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, str] = json.loads(done.stdout.rpartition("told ")[2])
    return found


def test_nothing_is_generated_or_encoded_without_a_plan(told) -> None:
    refused = {way: outcome for way, outcome in told.items() if not way.endswith(" under a plan")}
    assert refused
    assert set(refused.values()) == {"NoPlan"}, refused
    assert told["encode under a plan"] == "NoPlan"


def test_with_a_plan_the_engine_is_asked(told) -> None:
    """There is none here, which is another error: so a refusal is one of the plan's alone."""
    for way in ("generate under a plan", "add_request under a plan"):
        assert told[way] == "AttributeError"


def test_every_door_of_vllms_client_is_known() -> None:
    """A door that a later vLLM adds has to be judged: does it generate?"""
    tree = ast.parse((ROOT / "engine/protocol.py").read_text())
    client = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "EngineClient")
    doors = {n.name for n in client.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert doors - LEFT_ALONE == {"generate", "encode"}
