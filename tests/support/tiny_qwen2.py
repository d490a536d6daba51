"""A tiny Qwen2 in bfloat16, whose attention has biases, and adapters for it."""

from pathlib import Path

import torch

from tests.support import tiny_llama

BASE_NAME = "tiny-qwen2"


def make_base(folder: Path) -> Path:
    """Write the model: in all but family and numbers like the tiny Llama."""
    return tiny_llama.make_base(folder, "Qwen2ForCausalLM", torch.bfloat16)


ADAPTERS: dict[str, dict[str, object]] = {
    "r8": {},
    "r16": {"r": 16, "lora_alpha": 24},
    "attention-only": {"target_modules": ["q_proj", "v_proj"], "lora_alpha": 32},
    "r8-light": {"lora_alpha": 4},
}


def make_adapters(base: Path, folder: Path) -> dict[str, Path]:
    """Write all of :data:`ADAPTERS`."""
    return {
        name: tiny_llama.make_adapter(base, folder / name, seed, BASE_NAME, **options)
        for seed, (name, options) in enumerate(ADAPTERS.items(), start=40)
    }
