"""One engine in a process of its own, measured on command.

Started by ``benchmarks.engine`` as ``python -m benchmarks.engine.child KIND``; reads one JSON
command a line from its standard input and answers with one JSON line. Kinds:

    plain   vLLM without LoRA, as it comes
    joined  the same, but scheduler and worker share a process, as Loralloy's do
    stock   vLLM's own LoRA, as it comes
    bank    Loralloy's engine
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from benchmarks.child_process import serve
from benchmarks.stamps import rate_together

Generate = Callable[[str, list[int], int, list[float] | None], Coroutine[Any, Any, list[float]]]

Stop = Callable[[], None]

MAX_LORAS = 8
MAX_RANK = 16
MAX_LEN = 1024
SEQUENCES = 16
STEP = 512
"""Most tokens of a step, the server's default, in every engine that is held against another."""


def _environment(kind: str, threads: str, cache: str) -> None:
    os.environ.update(
        {
            "VLLM_PLUGINS": "loralloy" if kind == "bank" else "none",
            "VLLM_USE_V2_MODEL_RUNNER": "0",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_LOGGING_LEVEL": "ERROR",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": threads,
            "VLLM_CACHE_ROOT": f"{cache}/vllm",
            "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor",
            "HF_HUB_OFFLINE": "1",
        }
    )


async def _start_vllm(
    kind: str, model: str, adapters: list[str], dtype: str
) -> tuple[Generate, Stop]:
    from vllm import SamplingParams
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.lora.request import LoRARequest
    from vllm.v1.engine.async_llm import AsyncLLM

    from server.engine.settings import ADAPTER_LINEARS
    from server.engine.vllm_serving import ONE_PROCESS

    options: dict[str, Any] = {}
    if kind == "joined":
        options = {"distributed_executor_backend": ONE_PROCESS}
    if kind == "stock":
        options = {
            "enable_lora": True,
            "max_loras": MAX_LORAS,
            "max_cpu_loras": MAX_LORAS,
            "max_lora_rank": MAX_RANK,
            "lora_target_modules": list(ADAPTER_LINEARS),
        }
    engine = AsyncLLM.from_engine_args(
        AsyncEngineArgs(
            model=model,
            dtype=dtype,
            max_model_len=MAX_LEN,
            max_num_seqs=SEQUENCES,
            max_num_batched_tokens=STEP,
            enable_prefix_caching=False,
            **options,
        )
    )
    requests = [LoRARequest(f"a{i}", i + 1, path) for i, path in enumerate(adapters)]
    if kind == "stock":
        for request in requests:
            await engine.add_lora(request)

    async def generate(
        name: str, prompt: list[int], tokens: int, weights: list[float] | None
    ) -> list[float]:
        params = SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True)
        request = requests[weights.index(1.0)] if kind == "stock" and weights else None
        stamps = []
        async for _ in engine.generate(
            {"prompt_token_ids": prompt}, params, name, lora_request=request
        ):
            stamps.append(time.perf_counter())
        return stamps

    return generate, engine.shutdown


async def _start_bank(
    model: str, adapters: list[str], threads: str, cache: str, dtype: str
) -> tuple[Generate, Stop]:
    from router.mixture import Member, Mixture
    from server.engine.client.plan import GenerationPlan, planned
    from server.engine.engine import EmbeddedEngine
    from server.engine.settings import EngineSettings

    settings = EngineSettings(
        dtype=dtype,
        max_model_len=MAX_LEN,
        max_num_seqs=SEQUENCES,
        max_num_batched_tokens=STEP,
        max_loras=MAX_LORAS,
        max_lora_rank=MAX_RANK,
        enable_prefix_caching=False,
        threads=threads,
        cache_dir=Path(cache),
    )
    engine = await EmbeddedEngine.start(settings, Path(model), "base")
    for number, path in enumerate(adapters):
        await engine.load(f"digest-{number}", Path(path))
    from vllm import SamplingParams

    async def generate(
        name: str, prompt: list[int], tokens: int, weights: list[float] | None
    ) -> list[float]:
        members = [Member(f"a{i}", f"digest-{i}", w) for i, w in enumerate(weights or [])]
        params = SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True)
        stamps = []
        with planned(GenerationPlan((Mixture.of(members),))):
            async for _ in engine.client.generate({"prompt_token_ids": prompt}, params, name):
                stamps.append(time.perf_counter())
        return stamps

    return generate, engine.client.shutdown


async def _measure(generate: Generate, command: dict[str, Any], serial: int) -> float:
    """Tokens a second: of decoding once all requests decode, or of prefill, one after another."""
    count, tokens = command["requests"], command["tokens"]
    mixtures = command["mixtures"] or [None]
    prompts = [
        [100 + (serial * 7919 + request * 613 + 31 * i) % 40000 for i in range(command["prompt"])]
        for request in range(count)
    ]
    names = [f"{serial}-{request}" for request in range(count)]
    chosen = [mixtures[request % len(mixtures)] for request in range(count)]
    if command["what"] == "prefill":
        begin = time.perf_counter()
        for name, prompt, weights in zip(names, prompts, chosen, strict=True):
            await asyncio.create_task(generate(name, prompt, 1, weights))
        read: int = count * command["prompt"]
        return read / (time.perf_counter() - begin)
    stamps = await asyncio.gather(
        *(
            asyncio.create_task(generate(name, prompt, tokens, weights))
            for name, prompt, weights in zip(names, prompts, chosen, strict=True)
        )
    )
    return rate_together(stamps)


async def main(
    kind: str, model: str, threads: str, cache: str, dtype: str, adapters: list[str]
) -> None:
    """Start, say so, then serve commands until the input ends."""
    _environment(kind, threads, cache)
    if kind == "bank":
        generate, stop = await _start_bank(model, adapters, threads, cache, dtype)
    else:
        generate, stop = await _start_vllm(kind, model, adapters, dtype)

    async def measure(serial: int, command: dict[str, Any]) -> dict[str, Any]:
        return {"tokens_per_s": await _measure(generate, command, serial)}

    await serve(kind, measure, stop)


if __name__ == "__main__":
    kind, model, threads, cache, dtype, *adapters = sys.argv[1:]
    asyncio.run(main(kind, model, threads, cache, dtype, adapters))
