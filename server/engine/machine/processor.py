"""What this machine's processor can do, as its system tells it."""

import platform
from pathlib import Path
from typing import Final

_CPUINFO: Final = Path("/proc/cpuinfo")

_BFLOAT16: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Flags of processors that multiply bfloat16: two on x86, one on ARM."""


def flags(cpuinfo: str) -> frozenset[str]:
    """The processor's abilities by the names that Linux gives them.

    Args:
        cpuinfo: the text of ``/proc/cpuinfo``. Empty, as on other systems: none is known.
    """
    for line in cpuinfo.splitlines():
        title, _, names = line.partition(":")
        if title.strip() in ("flags", "Features"):
            return frozenset(names.split())
    return frozenset()


def processor_flags() -> frozenset[str]:
    """The abilities of this machine's processor."""
    try:
        return flags(_CPUINFO.read_text(errors="replace"))
    except OSError:
        return frozenset()


def multiplies_bfloat16(known: frozenset[str]) -> bool:
    """Whether a processor of these abilities has instructions for bfloat16.

    Without them every product in bfloat16 converts first: prefill then takes six times as long as
    in float32.
    """
    return bool(known & _BFLOAT16)


def identity() -> str:
    """A text that is the same on processors that can do the same."""
    return " ".join(sorted(processor_flags())) or platform.processor()
