"""The canary: a random adapter whose request must get other log-probabilities than the base model.

It goes the whole way that an adapter and a request go (read, slot, plan, scheduler, gates, bank):
a start proves by effect that nothing on it is cut. Costs: one load and two prompts of eight
tokens, under a second.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from safetensors.numpy import save_file

from adapters.files import CONFIG_FILE, WEIGHTS_FILE
from adapters.validation.base_model import BaseModelShapes
from router.mixture import BASE_MODEL, Member, Mixture
from server.engine.client.plan import GenerationPlan, planned
from server.engine.client.slots import Slots

DIGEST: Final = "canary"
"""Where adapters have their digest; no digest is like it."""

RANK: Final = 4
PROMPT: Final = tuple(range(1, 9))
"""Token ids that every vocabulary has."""

LEAST_MOVE: Final = 0.01
"""By how much one of the prompt's log-probabilities must move: far above what rounding does, far
below what so strong an adapter does."""


async def prove(client: Any, slots: Slots, base: BaseModelShapes) -> str | None:
    """Ask the base model, and the base model under a random adapter, for a prompt's probabilities.

    Args:
        client: the engine's client.
        slots: its slots, one of which is free; it is again afterwards.
        base: the shapes of the base model's layers.

    Returns:
        What is wrong, as a sentence without its subject; None if the adapter was applied.

    Raises:
        EngineLoadError: the engine refused the adapter.
    """
    plain = await _log_probabilities(client, BASE_MODEL)
    with TemporaryDirectory(prefix="loralloy-canary-") as folder:
        write_adapter(Path(folder), base)
        await slots.load(DIGEST, Path(folder))
    try:
        mixture = Mixture.of([Member(DIGEST, DIGEST, 1.0)])
        mixed = await _log_probabilities(client, mixture)
    finally:
        await slots.unload(DIGEST)
    return verdict(plain, mixed)


def verdict(plain: Sequence[float], mixed: Sequence[float]) -> str | None:
    """What two answers to one prompt tell of the engine.

    Args:
        plain: log-probabilities of the prompt's tokens by the base model.
        mixed: the same under the canary.
    """
    if not plain or len(plain) != len(mixed):
        return f"gave {len(plain)} log-probabilities for a prompt, then {len(mixed)}"
    if not all(math.isfinite(value) for value in plain):
        return "computes log-probabilities of the base model that are no numbers"
    if max(abs(one - other) for one, other in zip(plain, mixed, strict=True)) > LEAST_MOVE:
        return None
    return "answers as the base model where an adapter is asked for"


def write_adapter(folder: Path, base: BaseModelShapes) -> None:
    """Write a random adapter of every linear of every layer, in PEFT's format.

    Args:
        folder: an empty folder.
        base: the shapes of the base model's layers.
    """
    random = np.random.default_rng(0)

    def normal(rows: int, columns: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return random.standard_normal((rows, columns), dtype=np.float32)

    tensors = {}
    for layer in range(base.num_layers):
        for suffix, (size_out, size_in) in base.linears.items():
            name = f"base_model.model.model.layers.{layer}.{suffix}"
            tensors[f"{name}.lora_A.weight"] = normal(RANK, size_in) * np.float32(size_in**-0.5)
            tensors[f"{name}.lora_B.weight"] = normal(size_out, RANK) * np.float32(0.1)
    save_file(tensors, folder / WEIGHTS_FILE)
    config = {
        "peft_type": "LORA",
        "r": RANK,
        "lora_alpha": RANK,
        "target_modules": sorted({suffix.rpartition(".")[2] for suffix in base.linears}),
        "base_model_name_or_path": base.name,
        "bias": "none",
        "task_type": "CAUSAL_LM",
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config))


async def _log_probabilities(client: Any, mixture: Mixture) -> list[float]:
    """Of the prompt's tokens but the first, one number each."""
    from vllm import SamplingParams

    params = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0)
    found: list[Any] = []
    with planned(GenerationPlan((mixture,))):
        name = f"{DIGEST}-{'base' if mixture.is_base else 'mixed'}"
        async for output in client.generate({"prompt_token_ids": list(PROMPT)}, params, name):
            found = output.prompt_logprobs or found
    return [
        float(by_token[token].logprob)
        for token, by_token in zip(PROMPT, found, strict=False)
        if by_token is not None
    ]
