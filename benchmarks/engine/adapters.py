"""Random adapters of a given rank for any base model: only their cost has a meaning."""

import json
from collections.abc import Collection
from pathlib import Path

import torch
from safetensors.torch import save_file

from adapters.validation.base_model import read_base_model


def write_adapters(
    base: Path, folder: Path, count: int, rank: int, linears: Collection[str] = ()
) -> list[Path]:
    """Write ``count`` PEFT folders that touch these linears of every layer, or all, in bfloat16."""
    shapes = read_base_model(base, "base")
    touched = {
        suffix: size
        for suffix, size in shapes.linears.items()
        if not linears or suffix.rpartition(".")[2] in linears
    }
    written = []
    for number in range(count):
        generator = torch.Generator().manual_seed(number)
        tensors = {}
        for layer in range(shapes.num_layers):
            for suffix, (size_out, size_in) in touched.items():
                name = f"base_model.model.model.layers.{layer}.{suffix}"
                a = torch.randn(rank, size_in, generator=generator) * size_in**-0.5
                b = torch.randn(size_out, rank, generator=generator) * 0.01
                tensors[f"{name}.lora_A.weight"] = a.bfloat16()
                tensors[f"{name}.lora_B.weight"] = b.bfloat16()
        target = folder / f"adapter-{number}"
        target.mkdir(parents=True)
        save_file(tensors, target / "adapter_model.safetensors")
        config = {
            "peft_type": "LORA",
            "r": rank,
            "lora_alpha": 2 * rank,
            "target_modules": sorted({suffix.rpartition(".")[2] for suffix in touched}),
            "base_model_name_or_path": base.name,
            "bias": "none",
            "task_type": "CAUSAL_LM",
        }
        (target / "adapter_config.json").write_text(json.dumps(config))
        written.append(target)
    return written
