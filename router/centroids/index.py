"""The centroid index: which adapters there are, and how near a text is to each.

    score_k = max_p  e · c_kp / max(‖e‖ ‖c_kp‖, 1e-6)

the cosine between a text's embedding e and adapter k's centroids c_kp, the largest where an adapter
has several; the floor in the denominator is LoRA-TLE's (arXiv 2311.10847). An embedding may have
one value more than the centroids: what lies outside their space, and adds to its length alone.

A score depends on the two of them alone: not on which other adapters there are, what else is
looked up, or the processor. Sums are exact for that (:mod:`router.centroids.exact_products`). Among
many adapters only the scores that can decide are: single precision finds them, and they are taken
again.

Readers take an immutable snapshot and never wait; writers make the next one and put it in place. A
server keeps the library behind the products to one thread (:mod:`router.threads`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from router.centroids.exact_products import WORTH_SHARING, in_parts, noise, on_grid, product
from router.errors import InvalidCentroid

NORM_FLOOR = 1e-6
LARGEST_VALUE = 1e6
"""No mean of embeddings comes near it, and squares of it cannot overflow."""

Vector = npt.NDArray[np.float64]
Centroids = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Scores:
    """Cosines [..., n] of texts to n adapters, in order of their names."""

    names: tuple[str, ...]
    digests: tuple[str, ...]
    cosines: Vector

    def as_dict(self) -> dict[str, float]:
        """Adapter name → cosine, of one text."""
        return dict(zip(self.names, self.cosines.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Entry:
    """One adapter: its digest, its centroids as unit rows [p, d], and their norms [p].

    With ``rows`` None nothing can score it: it is known by name alone.
    """

    digest: str
    rows: npt.NDArray[np.float32] | None = None
    norms: Vector | None = None


@dataclass(frozen=True, slots=True)
class IndexSnapshot:
    """The index at one moment, adapters in order of their names.

    ``exact`` holds the unit centroids [d, P] on the grid, or ``parts`` if they are many in single
    precision. ``norms`` are their lengths [P]; ``starts`` is the first column [n] of each
    adapter that has a centroid.
    """

    entries: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    names: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    exact: Vector | None = None
    parts: tuple[npt.NDArray[np.float32], ...] = ()
    norms: Vector = field(default_factory=lambda: np.empty(0))
    smallest_norm: float = 0.0
    starts: npt.NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))

    def scores(
        self,
        embedding: npt.NDArray[np.floating],
        among: Sequence[int] | None = None,
        most: int | None = None,
    ) -> Scores:
        """Cosines of embeddings [..., d] to adapters with a centroid [w], d = w or w + 1.

        Args:
            embedding: the embeddings.
            among: the places of the adapters in ``names``; None for all.
            most: how many of the best decide anything. In a large index, others that are not as
                near may be off by ``noise``; None: every score is exact, which takes long there.

        Raises:
            InvalidCentroid: the embeddings' width is neither.
        """
        names, digests = self.names, self.digests
        if among is not None:
            names, digests = (tuple(of[position] for position in among) for of in (names, digests))
        if not names or 0 in embedding.shape[:-1]:
            return Scores(names, digests, np.empty((*embedding.shape[:-1], len(names))))
        width = self.width
        if embedding.shape[-1:] not in ((width,), (width + 1,)):
            raise InvalidCentroid(
                f"an embedding of {embedding.shape[-1]} values was looked up among centroids of"
                f" {width}; they must come from one encoder"
            )
        rows = embedding.reshape(-1, embedding.shape[-1]).astype(np.float64)
        cosines = self._cosines(rows)
        if among is not None:
            cosines = cosines[:, among]
        if self.exact is None:
            for row, found in zip(rows, cosines, strict=True):
                self._take_again(row, found, names, most)
        return Scores(names, digests, cosines.reshape(*embedding.shape[:-1], len(names)))

    def _take_again(
        self, row: Vector, cosines: Vector, names: tuple[str, ...], most: int | None
    ) -> None:
        """Make those cosines [n] of an embedding [d] exact that can be among the ``most`` best."""
        near = np.arange(len(cosines))
        if most is not None and most < len(cosines):
            last = np.partition(cosines, -most)[-most]
            near = np.flatnonzero(cosines >= last - 2 * noise(self.width))
        entries = {names[position]: self.entries[names[position]] for position in near}
        exact = built(entries, few=True).scores(row).as_dict()
        cosines[near] = [exact[name] for name in entries]

    def _cosines(self, rows: Vector) -> Vector:
        """Cosines [m, n] of embeddings [m, d]."""
        lengths = np.array([_length(row) for row in rows])[:, None]
        units = (rows / np.where(lengths > 0, lengths, 1.0))[:, : self.width]
        if self.exact is not None:
            cosines: Vector = on_grid(units) @ self.exact
        else:
            single = [product(self.parts, unit) for unit in units.astype(np.float32)]
            cosines = np.array(single, dtype=np.float64)
        if self.smallest_norm * lengths.min() < NORM_FLOOR:
            both = lengths * self.norms
            cosines *= both / np.maximum(both, NORM_FLOOR)
        if len(self.starts) < cosines.shape[1]:
            cosines = np.maximum.reduceat(cosines, self.starts, axis=1)
        return cosines

    @property
    def width(self) -> int:
        """Width w of the centroids, where there are any."""
        return len(self.parts[0] if self.exact is None else self.exact)

    @property
    def known(self) -> Mapping[str, str]:
        """Name → digest of every adapter, those without a centroid too."""
        return {name: entry.digest for name, entry in self.entries.items()}


class CentroidIndex:
    """Adapters by name, each with a digest and its centroids. Thread-safe; reads never block."""

    def __init__(self) -> None:
        self._snapshot = IndexSnapshot()
        self._lock = Lock()

    @property
    def snapshot(self) -> IndexSnapshot:
        """The index as it is now; later changes do not reach it."""
        return self._snapshot

    def put(self, name: str, digest: str, centroids: Centroids | None) -> None:
        """Add or replace one adapter.

        Args:
            name: the adapter's name.
            digest: the digest of its content.
            centroids: one centroid [d], several [p, d], or None: known, but never scored.

        Raises:
            InvalidCentroid: not a finite vector of the others' width with a length.
        """
        self.put_all([(name, digest, centroids)])

    def put_all(self, adapters: Iterable[tuple[str, str, Centroids | None]]) -> None:
        """Add or replace many adapters at once: all of them or, on an error, none."""
        fresh = {name: _entry(name, digest, centroids) for name, digest, centroids in adapters}
        with self._lock:
            self._snapshot = built({**self._snapshot.entries, **fresh})

    def remove(self, name: str) -> bool:
        """Take one adapter out; False if it was not there."""
        with self._lock:
            entries = dict(self._snapshot.entries)
            if entries.pop(name, None) is None:
                return False
            self._snapshot = built(entries)
            return True

    def scores(self, embedding: npt.NDArray[np.floating], most: int | None = None) -> Scores:
        """Cosines of embeddings [..., d] to every adapter that has a centroid."""
        return self._snapshot.scores(embedding, most=most)

    def __len__(self) -> int:
        return len(self._snapshot.entries)

    def __contains__(self, name: object) -> bool:
        return name in self._snapshot.entries


def _entry(name: str, digest: str, centroids: Centroids | None) -> Entry:
    if centroids is None:
        return Entry(digest)
    rows = np.atleast_2d(np.array(centroids, dtype=np.float64))
    if rows.ndim != 2 or rows.size == 0:
        raise InvalidCentroid(f"centroids of adapter {name!r} must have the shape [d] or [p, d]")
    if not (np.abs(rows) <= LARGEST_VALUE).all():
        raise InvalidCentroid(
            f"a centroid of adapter {name!r} holds a value that is not a number of at most"
            f" ±{LARGEST_VALUE:g}"
        )
    norms = np.array([_length(row) for row in rows])
    if not norms.all():
        raise InvalidCentroid(f"a centroid of adapter {name!r} is zero; no cosine can be taken")
    return Entry(digest, (rows / norms[:, None]).astype(np.float32), norms)


def _length(vector: Vector) -> float:
    """‖v‖ of a vector [d], its sum exact: the same in any order of the values."""
    return math.sqrt(math.fsum((vector * vector).tolist()))


def built(entries: dict[str, Entry], *, few: bool = False) -> IndexSnapshot:
    """The snapshot of these adapters; ``few``: all scores are exact, however many they are.

    Raises:
        InvalidCentroid: their centroids have unlike widths.
    """
    ordered = dict(sorted(entries.items()))
    frozen = MappingProxyType(ordered)
    scored = {name: entry.digest for name, entry in ordered.items() if entry.rows is not None}
    if not scored:
        return IndexSnapshot(frozen)
    rows = [entry.rows for entry in ordered.values() if entry.rows is not None]
    norms = [entry.norms for entry in ordered.values() if entry.norms is not None]
    starts = np.cumsum([0, *(len(part) for part in rows)], dtype=np.intp)
    lengths = np.concatenate(norms)
    together = _together(list(scored), rows)
    is_few = few or together.size < WORTH_SHARING
    return IndexSnapshot(
        entries=frozen,
        names=tuple(scored),
        digests=tuple(scored.values()),
        exact=np.ascontiguousarray(on_grid(together).T) if is_few else None,
        parts=() if is_few else in_parts(together),
        norms=lengths,
        smallest_norm=float(lengths.min()),
        starts=starts[:-1],
    )


def _together(names: list[str], rows: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """The centroids of all [P, w], which have one width."""
    width = rows[0].shape[1]
    for name, part in zip(names, rows, strict=True):
        if part.shape[1] != width:
            raise InvalidCentroid(
                f"centroids of one index have one width, but adapter {name!r} has"
                f" {part.shape[1]} values and adapter {names[0]!r} has {width}"
            )
    return np.concatenate(rows)
