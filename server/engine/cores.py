"""Which processor cores the engine computes on."""

import os
from collections.abc import Collection
from pathlib import Path

UNBOUND = "nobind"
CORES_PATTERN = r"nobind|\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*"

_THREADS = Path("/proc/self/task")


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


def thread_environment(cores: str) -> dict[str, str]:
    """What the OpenMP runtime reads when the engine's process starts: a thread for each core.

    Which cores is not said here: the runtime would tie the engine's main thread, and with it all
    that this one starts, to the first core, and then let its threads sleep at every barrier.
    """
    numbers = listed(cores)
    return {"OMP_NUM_THREADS": str(len(numbers))} if numbers else {}


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
