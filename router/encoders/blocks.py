"""Matrices in blocks too small for the BLAS library to share a product out among threads.

Its threads wait for each other, so beside an engine that keeps every core busy one threaded product
takes tens of milliseconds instead of one. OpenBLAS shares out matrix-vector products over more than
9216 values.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

BLOCK_VALUES = 8192

Kind = TypeVar("Kind", bound=np.floating)


def in_blocks(rows: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
    """Rows [P, d] as [⌈P / b⌉, b, d], filled up with zeros."""
    count, width = rows.shape
    height = max(1, BLOCK_VALUES // max(1, width))
    blocks = np.zeros((-(-count // height), height, width), rows.dtype)
    blocks.reshape(-1, width)[:count] = rows
    return blocks


def product(blocks: npt.NDArray[Kind], vectors: npt.NDArray[Kind], count: int) -> npt.NDArray[Kind]:
    """The products [..., count] of the rows with vectors [..., d], each as if it were alone."""
    each = blocks @ vectors[..., None, :, None]
    result: npt.NDArray[Kind] = each.reshape(*vectors.shape[:-1], -1)[..., :count]
    return result
