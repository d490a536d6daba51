"""Compiling the CPU kernel once, and finding it again.

The compiled file's name holds a digest of everything it depends on (source, torch, compiler,
flags, processor), so it is never stale; it is written under a temporary name and renamed. Of two
processes that want it at once one compiles it and the other waits. Without a C++ compiler there is
no kernel, and the operator runs in plain torch.
"""

import ctypes
import hashlib
import logging
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final, Literal, get_args

import torch
from filelock import FileLock
from torch.utils import cpp_extension

from server.engine.machine.cache_folder import usable
from server.engine.machine.compiler import Compiler, find_compiler, output
from server.engine.machine.processor import identity, processor_flags

logger = logging.getLogger(__name__)

KERNEL_VARIABLE: Final = "LORALLOY_KERNEL"
"""Environment variable that names the compiled kernel: set by the server, read by the workers."""

SOURCE = Path(__file__).parent / "gated_lora.cpp"
HEADERS = sorted(Path(__file__).parent.glob("*.h"))
FLAGS = (
    *("-std=c++20", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared", "-w"),
    # A product and a sum become one instruction where the source says so, and nowhere else: a row's
    # bits must not hang on which loop it went through.
    "-ffp-contract=off",
    # packed.h moves pairs of bfloat16 as fp32, which the language forbids and compilers allow.
    "-fno-strict-aliasing",
    "-fvisibility=hidden",  # kernels of several branches may be loaded side by side
)

Branch = Literal["avx512", "avx2", "scalar"]
"""The kernel's inner loops, by what a processor can do (``branch.h``)."""

BRANCHES: Final[tuple[Branch, ...]] = get_args(Branch)
"""From the best to the one that runs everywhere."""

_NEEDS: Final[dict[Branch, frozenset[str]]] = {
    "avx512": frozenset({"avx512f", "avx512dq"}),
    "avx2": frozenset({"avx2", "fma"}),
    "scalar": frozenset(),
}


def branches_here() -> tuple[Branch, ...]:
    """The branches that this machine's processor can run; the first is the one it gets."""
    known = processor_flags()
    return tuple(branch for branch in BRANCHES if _NEEDS[branch] <= known)


def _flags(branch: Branch | None) -> list[str]:
    """All flags; those of a branch by name give it an operator library of its own."""
    flags = [*FLAGS, f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"]
    if branch is not None:
        flags += [f"-DLORALLOY_{branch.upper()}", f"-DLORALLOY_LIBRARY={library_of(branch)}"]
    return flags


def library_of(branch: Branch) -> str:
    """The operator library of a branch that was compiled by name; callers define its schemas."""
    return f"loralloy_{branch}"


def library_path(folder: Path, compiler: Compiler, branch: Branch | None = None) -> Path:
    """Where the kernel compiled for this machine lies, or will lie."""
    sources = "\0".join(file.read_text() for file in (SOURCE, *HEADERS))
    flags = " ".join(_flags(branch))
    parts = (sources, torch.__version__, output(compiler, "--version"), flags, identity())
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return folder / f"gated_lora-{digest}.so"


def build(folder: Path, branch: Branch | None = None) -> Path | None:
    """Compile the kernel into ``folder`` unless it is there; takes about half a minute once.

    A folder that cannot be written to gets a temporary one in its place.

    Args:
        folder: where it is kept.
        branch: for tests, a branch by name, in an operator library of its own; by default the best
            that the processor can run.

    Returns:
        The shared library, or None if there is no compiler or it fails (logged with the reason).
    """
    compiler = find_compiler()
    if compiler is None:
        named = f" (CXX is {os.environ['CXX']!r})" if os.environ.get("CXX") else ""
        logger.warning(
            "no C++ compiler found%s: the bank runs in plain torch, which is slower", named
        )
        return None
    target = library_path(folder, compiler, branch)
    if target.is_file():
        return target
    target = usable(folder) / target.name
    with FileLock(target.with_name(f".{target.name}.lock")):
        return target if target.is_file() or _compile(compiler, branch, target) else None


def _compile(compiler: Compiler, branch: Branch | None, target: Path) -> bool:
    """Whether the kernel compiled."""
    logger.info("compiling the bank's kernel (once, about half a minute)")
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        fresh = Path(scratch) / target.name
        command = [*compiler, *_flags(branch), str(SOURCE), "-o", str(fresh)]
        command += [f"-I{path}" for path in cpp_extension.include_paths()]
        command += [f"-L{path}" for path in cpp_extension.library_paths()]
        command += ["-ltorch", "-ltorch_cpu", "-lc10"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            logger.warning(
                "the bank's kernel did not compile; it runs in plain torch, which is slower"
            )
            logger.info("compiler output: %s", done.stderr[-2000:])
            return False
        fresh.rename(target)
    return True


def branch_of(kernel: Path) -> str:
    """Which branch a compiled kernel is, as it says itself."""
    says = ctypes.CDLL(str(kernel)).loralloy_branch
    says.restype = ctypes.c_char_p
    name: bytes = says()
    return name.decode()
