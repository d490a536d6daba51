"""The number format of weights and activations where ``dtype`` is ``auto``.

bfloat16 where the processor multiplies it. Elsewhere every product would convert it first, so that
float32 is several times as fast, unless the memory does not hold the base model in it.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from server.engine.machine.processor import multiplies_bfloat16, processor_flags

Format = Literal["bfloat16", "float16", "float32"]

_MEMINFO: Final = Path("/proc/meminfo")
_GROUP: Final = Path("/sys/fs/cgroup")
_MOST_HEADER_BYTES: Final = 100 * 2**20
_FLOAT32_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """What the engine computes in.

    Attributes:
        name: vLLM's name of it.
        reason: why, in a few words; empty where it was asked for.
    """

    name: Format
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})" if self.reason else self.name


def number_format(asked: Literal["auto"] | Format, model: Path, beside: int) -> NumberFormat:
    """The format that is asked for, or the one that suits this machine.

    Args:
        asked: the setting.
        model: folder of the base model.
        beside: bytes that the engine takes beside the base model, in float32.
    """
    if asked != "auto":
        return NumberFormat(asked, "")
    needed = _FLOAT32_BYTES * parameters(model) + beside
    return chosen(processor_flags(), needed, available_bytes())


def chosen(flags: frozenset[str], needed: int, available: int | None) -> NumberFormat:
    """The format for a processor and a memory.

    Args:
        flags: what the processor can do.
        needed: bytes of base model, slots, keys and values in float32.
        available: bytes of memory that are free; None if nobody knows.
    """
    if multiplies_bfloat16(flags):
        return NumberFormat("bfloat16", "this processor multiplies it")
    if available is not None and needed > available:
        return NumberFormat(
            "bfloat16",
            f"slow on this processor, which does not multiply it; float32 needs "
            f"{needed / 2**30:.1f} GiB, and {available / 2**30:.1f} are free",
        )
    return NumberFormat("float32", "this processor does not multiply bfloat16")


def parameters(model: Path) -> int:
    """Numbers in the weights of a checkpoint, by the headers of its safetensors files."""
    return sum(
        math.prod(entry.get("shape", ()))
        for file in sorted(model.glob("*.safetensors"))
        for name, entry in _header(file)
        if name != "__metadata__"
    )


def _header(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries of a file's header; none of a file that vLLM will refuse."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        text = opened.read(size) if size <= _MOST_HEADER_BYTES else b"{}"
    try:
        yield from json.loads(text).items()
    except ValueError:
        return


def available_bytes(meminfo: Path = _MEMINFO, group: Path = _GROUP) -> int | None:
    """Memory that this process may still take: the machine's, or its container's if that is less.

    Returns:
        None where the system does not say.
    """
    found = [_machine_bytes(meminfo), _group_bytes(group)]
    known = [size for size in found if size is not None]
    return min(known) if known else None


def _machine_bytes(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _group_bytes(group: Path) -> int | None:
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return max(0, int(limit) - used) if limit.isdecimal() else None
