"""Adapters that differ from one another in their factors B alone."""

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file


def variant(source: Path, folder: Path, seed: int) -> Path:
    """The adapter of a folder with other factors B, written to another folder."""
    shutil.copytree(source, folder)
    file = folder / "adapter_model.safetensors"
    rng = np.random.default_rng(seed)
    tensors = {
        name: (0.3 * rng.standard_normal(tensor.shape)).astype(tensor.dtype)
        if ".lora_B." in name
        else tensor
        for name, tensor in load_file(file).items()
    }
    save_file(tensors, file)
    return folder
