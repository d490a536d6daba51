"""Which processor cores the engine computes on."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

UNBOUND = "nobind"
CORES_PATTERN = r"nobind|\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*"

_THREADS = Path("/proc/self/task")

_SPINS: Final = "2000"
"""Looks that a thread takes before it sleeps, some 50 µs: longer than the others of a step need
between two of their meetings, and far shorter than another program has a core for. The runtime's
own 300,000 take milliseconds, in which a thread keeps its core from the one that it waits for."""

_WAITING: Final = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""Either says how threads wait."""


def listed(cores: str) -> tuple[int, ...]:
    """The cores of a list such as ``0-3,8``; none for ``nobind``.

    Raises:
        ValueError: a range runs backwards, or a core comes twice.
    """
    if cores == UNBOUND:
        return ()
    numbers = [number for part in cores.split(",") for number in _range(part)]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"the cores {cores} name one of them twice")
    return tuple(numbers)


def thread_environment(cores: str, given: Mapping[str, str]) -> dict[str, str]:
    """What the OpenMP runtime reads when the engine's process starts.

    A thread for each core, where cores are listed; and threads that sleep soon while they wait for
    each other, unless the environment says how they wait. Beside a program that keeps a core busy
    they then lend each other theirs (docs/performance.md).

    Which cores is not said here: the runtime would tie the engine's main thread, and with it all
    that this one starts, to the first core, and then let its threads sleep at every barrier.
    """
    numbers = listed(cores)
    found = {"OMP_NUM_THREADS": str(len(numbers))} if numbers else {}
    if not any(variable in given for variable in _WAITING):
        found["GOMP_SPINCOUNT"] = _SPINS
    return found


def keep_to(cores: Collection[int]) -> None:
    """Let all threads that this process has run on these cores alone; those to come follow.

    Raises:
        OSError: this machine has no such core, or the process may not use it.
    """
    for thread in _THREADS.iterdir():
        try:
            os.sched_setaffinity(int(thread.name), cores)
        except ProcessLookupError:
            continue  # it has just ended


def _range(part: str) -> range:
    first, _, last = part.partition("-")
    numbers = range(int(first), int(last or first) + 1)
    if not numbers:
        raise ValueError(f"the cores {part} run backwards; give the smaller number first")
    return numbers
