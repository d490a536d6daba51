"""Processes that begin with everything imported, forked off one that imports it meanwhile.

To import vLLM keeps a core busy for a quarter of a minute or more, in the server and in its engine
alike. Python's fork server does it on another core while the server's process does; the engine and
what compiles constraints are forked off it, and begin where an import would have ended.

Nothing runs in the fork server but its loop, in one thread (beside those of libraries that mind
forks themselves), so that what it forks is whole. It reads the environment when it starts (the
number of threads, the allocator, what torch's compiler looks up), so that this must have been set
before; what is forked off gets the rest as it then is.
"""

import multiprocessing
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext
from pathlib import Path
from typing import Final

_PRELOADED: Final = "server.engine.worker.preloaded"

_VARIABLES: Final = {
    # What vLLM tells torch's compiler on a CPU, which reads it when it is imported.
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "TORCHINDUCTOR_CPP_DYNAMIC_THREADS": "1",
    # Or else numpy starts a thread when it is imported.
    "OPENBLAS_NUM_THREADS": "1",
}

_LIBRARIES: Final = (
    ("torch", ("../torch.libs/libgomp*.so*", "lib/libgomp*.so*")),
    ("vllm", ("libs/libtcmalloc_minimal*.so*", "libs/libtcmalloc.so*")),
)
"""What vLLM lets the linker load before all else on a CPU, by package: the OpenMP runtime that
torch brings, and an allocator."""


class _Process(ForkServerProcess):
    """A process with the environment that its parent has when it starts it."""

    def start(self) -> None:
        self._environment = dict(os.environ)
        super().start()

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self._environment)
        super().run()


class _Context(ForkServerContext):
    Process = _Process


_context: SpawnContext | _Context = SpawnContext()


def start() -> None:
    """Let the fork server import what the engine needs, beside whatever this process does next.

    To be called from the main thread, once the environment is set. Elsewhere than on Linux, where a
    process that has imported such libraries may not be forked, it does nothing.
    """
    global _context
    if sys.platform != "linux":
        return
    multiprocessing.set_forkserver_preload([_PRELOADED])
    with _variables({**_VARIABLES, "LD_PRELOAD": _libraries()}):
        forkserver.ensure_running()
    _context = _Context()


def context() -> SpawnContext | ForkServerContext:
    """Where processes come from: the fork server, if it was started, or else a new interpreter."""
    return _context


def _libraries() -> str:
    """The value of ``LD_PRELOAD``: what it has, and each library that it does not name yet."""
    found = os.environ.get("LD_PRELOAD", "")
    for package, patterns in _LIBRARIES:
        files = [file for one in patterns for file in sorted(_folder(package).glob(one))]
        if files and _stem(files[0]) not in map(_stem, map(Path, found.split(":"))):
            found = f"{files[0].resolve()}:{found}".rstrip(":")
    return found


def _folder(package: str) -> Path:
    spec = find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin else Path()


def _stem(library: Path) -> str:
    """The name without version and variant."""
    return re.split(r"[-_.]", library.name)[0]


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """The environment with these values, for the length of the block."""
    before = dict(os.environ)
    os.environ.update({name: value for name, value in values.items() if value})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
