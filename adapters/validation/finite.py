"""Are all weights finite and of sane size? Told from the bits, without loading a tensor library.

For every IEEE-like format the magnitude of a number grows with its bits read as an unsigned
integer, the sign bit cleared; everything from the all-ones exponent on is infinite or NaN. So one
integer maximum over a tensor answers both questions, for bfloat16 as well, which numpy lacks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from adapters.errors import MalformedFile
from adapters.format.safetensors_header import TensorSpec

_CHUNK_BYTES = 2**22


@dataclass(frozen=True, slots=True)
class _BitLayout:
    """Unsigned type of the same width, mask of all bits but the sign, bits of infinity."""

    unsigned: str
    magnitude_mask: int
    infinity: int


_LAYOUTS: Mapping[str, _BitLayout] = MappingProxyType(
    {
        "F32": _BitLayout("<u4", 0x7FFF_FFFF, 0x7F80_0000),
        "BF16": _BitLayout("<u2", 0x7FFF, 0x7F80),
        "F16": _BitLayout("<u2", 0x7FFF, 0x7C00),
    }
)


def max_magnitude(file: BinaryIO, data_start: int, spec: TensorSpec) -> float | None:
    """The largest magnitude in a tensor, or None if it holds NaN or infinity.

    Reads the tensor's bytes in chunks of 4 MiB; an empty tensor has magnitude 0.
    """
    layout = _LAYOUTS[spec.dtype]
    largest = 0
    file.seek(data_start + spec.begin)
    remaining = spec.end - spec.begin
    while remaining:
        chunk = file.read(min(remaining, _CHUNK_BYTES))
        if not chunk:
            raise MalformedFile("adapter_model.safetensors became shorter while it was read")
        remaining -= len(chunk)
        bits = np.frombuffer(chunk, layout.unsigned) & layout.magnitude_mask
        largest = max(largest, int(bits.max()))
    return None if largest >= layout.infinity else _as_float(spec.dtype, largest)


def _as_float(dtype: str, bits: int) -> float:
    """The non-negative number that the bits stand for."""
    if dtype == "F16":
        half: NDArray[np.float16] = np.array([bits], np.uint16).view(np.float16)
        return float(half[0])
    wide = bits << 16 if dtype == "BF16" else bits
    return float(np.array([wide], np.uint32).view(np.float32)[0])
