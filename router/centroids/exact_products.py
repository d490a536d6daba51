"""Products of a vector with columns: exact with some, fast with many.

A sum of floating-point numbers depends on its order, and a BLAS library chooses that by the shape
of a matrix and by the processor. :func:`on_grid` takes the choice away: products of vectors on the
grid are exact, so that any order gives the same to the last bit. They take double precision.

With very many columns a product is bound by memory, so :func:`product` is in single precision, off
by ``noise`` at most, and a second thread lends a hand, since one core does not read as fast as two.
Whoever asks works through the parts; a helper, if it gets to run, takes some of them. Nobody waits
for a helper that is not running, as the threads of a BLAS library wait for each other beside a busy
engine.
"""

from functools import cache
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Final

import numpy as np
import numpy.typing as npt

WORTH_SHARING: Final = 2**20
"""Values of a matrix from which on single precision and a helper are worth it."""

PARTS: Final = 4

Matrix = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]

_STEP: Final = 2.0**-26
"""Of the grid: products are then multiples of 2⁻⁵², which doubles hold exactly up to 2."""


def on_grid(vectors: npt.NDArray[np.floating]) -> Vector:
    """Vectors [..., d] of length 1 at most, each value to the nearest multiple of 2⁻²⁶.

    A sum of products of two such vectors, or a part of it, is a multiple of 2⁻⁵² below 2: exact
    in double precision. The cosine is off by √d · 2⁻²⁶ at most, some 1e-8 in practice.
    """
    rounded: Vector = np.rint(vectors.astype(np.float64) / _STEP) * _STEP
    return rounded


def noise(width: int) -> float:
    """How far :func:`product` may be from the product on the grid, for unit vectors [width].

    The bound for sums in any order (Higham 2002, section 3.1), with both roundings of the factors.
    """
    return (2 * width + 4) * 2.0**-24


def in_parts(rows: Matrix) -> tuple[Matrix, ...]:
    """Rows [P, d] as columns [d, P], side by side in several arrays."""
    return tuple(np.ascontiguousarray(part.T) for part in np.array_split(rows, PARTS))


def product(parts: tuple[Matrix, ...], vector: Matrix) -> Matrix:
    """The products [P] of a vector [d] with the columns of all parts, in single precision."""
    job = _Job(parts, vector)
    _helper().put(job)
    job.work()
    with job.helping:
        return job.result


class _Job:
    """One product; ``helping`` is held while the helper has a part in hand."""

    def __init__(self, parts: tuple[Matrix, ...], vector: Matrix) -> None:
        ends = np.cumsum([part.shape[1] for part in parts])
        self.result = np.empty(int(ends[-1]), np.float32)
        self.helping = Lock()
        slices = np.split(self.result, ends[:-1])
        self._left = list(zip(parts, slices, strict=True))
        self._vector = vector

    def work(self) -> None:
        """Do what nobody has begun."""
        while self._left:
            try:
                part, out = self._left.pop()
            except IndexError:  # the other was quicker
                return
            np.dot(self._vector, part, out=out)


@cache
def _helper() -> "SimpleQueue[_Job]":
    """The queue of a thread that lives as long as the process."""
    jobs: SimpleQueue[_Job] = SimpleQueue()

    def help_out() -> None:
        while True:
            job = jobs.get()
            with job.helping:
                job.work()

    Thread(target=help_out, name="centroids", daemon=True).start()
    return jobs
