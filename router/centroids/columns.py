"""The product of a vector with many columns, in which a second thread lends a hand.

Such a product is bound by memory, and one core does not read as fast as two. Whoever asks works
through the parts; a helper, if it gets to run, takes some of them. Nobody waits for a helper that
is not running, as the threads of a BLAS library wait for each other beside a busy engine.
"""

from functools import cache
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Final

import numpy as np
import numpy.typing as npt

WORTH_SHARING: Final = 2**20
"""Values of a matrix from which on a helper is worth waking."""

PARTS: Final = 4

Matrix = npt.NDArray[np.float32]


def in_parts(rows: Matrix) -> tuple[Matrix, ...]:
    """Rows [P, d] as columns [d, P], side by side in several arrays if they are many."""
    count = PARTS if rows.size >= WORTH_SHARING else 1
    return tuple(np.ascontiguousarray(part.T) for part in np.array_split(rows, count))


def product(parts: tuple[Matrix, ...], vector: Matrix) -> Matrix:
    """The products [P] of a vector [d] with the columns of all parts."""
    if len(parts) == 1:
        return vector @ parts[0]
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
        places = np.split(self.result, ends[:-1])
        self._left = list(zip(parts, places, strict=True))
        self._vector = vector

    def work(self) -> None:
        """Do what nobody has begun."""
        while self._left:
            try:
                part, place = self._left.pop()
            except IndexError:  # the other was quicker
                return
            np.dot(self._vector, part, out=place)


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
