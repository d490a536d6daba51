"""Compiling the CPU kernel once, and finding it again.

The compiled file's name holds a digest of everything it depends on (source, torch, compiler,
flags, processor), so it is never stale; it is written under a temporary name and renamed, so that
two processes may build at once. Without a C++ compiler there is no kernel, and the operator runs
in plain torch.
"""

import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import torch
from torch.utils import cpp_extension

logger = logging.getLogger(__name__)

KERNEL_VARIABLE: Final = "LORALLOY_KERNEL"
"""Environment variable that names the compiled kernel: set by the server, read by the workers."""

SOURCE = Path(__file__).parent / "gated_lora.cpp"
HEADERS = sorted(Path(__file__).parent.glob("*.h"))
FLAGS = ("-std=c++20", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared", "-w")


def find_compiler() -> str | None:
    """The C++ compiler on the path (``CXX`` wins), or None."""
    return shutil.which(os.environ.get("CXX", "g++"))


def _processor() -> str:
    """What the processor can do: ``-march=native`` compiles for exactly this."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return platform.processor()
    lines = cpuinfo.read_text(errors="replace").splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def library_path(folder: Path, compiler: str) -> Path:
    """Where the kernel compiled for this machine lies, or will lie."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    sources = "\0".join(file.read_text() for file in (SOURCE, *HEADERS))
    parts = (sources, torch.__version__, version.stdout, " ".join(FLAGS), _processor())
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return folder / f"gated_lora-{digest}.so"


def build(folder: Path) -> Path | None:
    """Compile the kernel into ``folder`` unless it is there; takes about half a minute once.

    Returns:
        The shared library, or None if there is no compiler or it fails (logged with the reason).
    """
    compiler = find_compiler()
    if compiler is None:
        logger.warning("no C++ compiler found: the bank runs in plain torch, which is slower")
        return None
    target = library_path(folder, compiler)
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    logger.info("compiling the bank's kernel (once, about half a minute)")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        fresh = Path(scratch) / target.name
        abi = int(torch.compiled_with_cxx11_abi())
        command = [
            compiler,
            *FLAGS,
            f"-D_GLIBCXX_USE_CXX11_ABI={abi}",
            str(SOURCE),
            "-o",
            str(fresh),
        ]
        command += [f"-I{path}" for path in cpp_extension.include_paths()]
        command += [f"-L{path}" for path in cpp_extension.library_paths()]
        command += ["-ltorch", "-ltorch_cpu", "-lc10"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            logger.warning(
                "the bank's kernel did not compile; it runs in plain torch, which is slower"
            )
            logger.info("compiler output: %s", done.stderr[-2000:])
            return None
        fresh.rename(target)
    return target
