"""One vector for each token of a vocabulary, in few bits, and sums of them that are exact.

    row_t = scale_t · code_t,   code_t ∈ {−m … m}^s,   m = 7 (4 bits) or 127 (8 bits)

A scale is a half-precision number of at most 1, hence a multiple of 2⁻²⁴, and so is every row. In
double precision (53 bits) a sum of such rows is exact up to 2²² tokens: neither their order nor
how they were grouped shows in it, and a row that is taken away again leaves nothing behind.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LARGEST_CODE = {4: 7, 8: 127}
"""Bits of a code → its largest magnitude."""

BLOCK_TOKENS = 4096
"""Tokens that are widened to double precision at a time."""

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """Codes [V + 1, s] as int8 and scales [V + 1] of V tokens; the last row is zero."""

    codes: npt.NDArray[np.int8]
    scales: Vector

    @classmethod
    def of(cls, codes: npt.NDArray[np.int8], scales: npt.NDArray[np.float16]) -> "TokenVectors":
        """From the codes [V, s] and scales [V] of a file."""
        return cls(
            np.concatenate([codes, np.zeros((1, codes.shape[1]), np.int8)]),
            np.append(scales.astype(np.float64), 0.0),
        )

    @property
    def width(self) -> int:
        """Values s of a row."""
        return int(self.codes.shape[1])

    @property
    def size(self) -> int:
        """Tokens V of the vocabulary."""
        return len(self.codes) - 1

    def total(self, ids: Sequence[int]) -> Vector:
        """Exact sum [s] of the rows of these tokens; ids outside the vocabulary add nothing."""
        if len(ids) == 1:  # what every generated token costs
            row_of = ids[0] if 0 <= ids[0] < self.size else self.size
            row: Vector = self.codes[row_of] * self.scales[row_of]
            return row
        total = np.zeros(self.width)
        for start in range(0, len(ids), BLOCK_TOKENS):
            block = np.asarray(ids[start : start + BLOCK_TOKENS], dtype=np.int64)
            block = np.where((block < 0) | (block > self.size), self.size, block)
            total += self.scales[block] @ self.codes[block].astype(np.float64)
        return total


def quantised(
    rows: npt.NDArray[np.floating], bits: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float16]]:
    """Codes [V, s] and scales [V] next to the rows [V, s], all scaled alike to fit.

    Only directions of sums count, so that the rows' common size is free: the largest scale is 1.
    """
    most = LARGEST_CODE[bits]
    peaks = np.abs(rows).max(axis=1)
    scales = (peaks / max(float(peaks.max(initial=0)), 1e-30)).astype(np.float16)
    shrunk = rows / max(float(peaks.max(initial=0)), 1e-30) * most
    steps = np.where(scales > 0, scales, 1).astype(np.float64)[:, None]
    codes = np.clip(np.rint(shrunk / steps), -most, most)
    return np.where(scales[:, None] > 0, codes, 0).astype(np.int8), scales


def packed(codes: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """Codes [V, s] of 4 bits, two to a byte: [V, ⌈s / 2⌉], the first in the low half."""
    even = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2))).astype(np.uint8)
    return (even[:, 0::2] & 15 | even[:, 1::2] << 4).astype(np.uint8)


def unpacked(halves: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.int8]:
    """Codes [V, width] from what ``packed`` gave."""
    codes = np.empty((len(halves), 2 * halves.shape[1]), np.int8)
    codes[:, 0::2] = halves & 15
    codes[:, 1::2] = halves >> 4
    # Two's complement in four bits: 8 … 15 stand for −8 … −1.
    return np.where(codes > 7, codes - 16, codes)[:, :width].astype(np.int8)
