"""The centroid index: which adapters there are, and how near a text is to each.

    score_k = max_p  e · c_kp / max(‖e‖ ‖c_kp‖, 1e-6)

the cosine between a text's embedding e and adapter k's centroids c_kp, the largest where an adapter
has several; the floor in the denominator is LoRA-TLE's (arXiv 2311.10847). An embedding may have
one value more than the centroids: what lies outside their space, and adds to its length alone.

Readers take an immutable snapshot and never wait; writers make the next one and put it in place.

A look-up is one product of a vector with the unit centroids (:mod:`router.centroids.columns`). A
server keeps the library behind it to one thread (:mod:`router.threads`).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from router.centroids.columns import in_parts, product
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

    ``columns`` holds the unit centroids [d, P] in parts; ``norms`` their lengths [P]; ``starts``
    the first column [n] of each adapter that has a centroid.
    """

    entries: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    names: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    columns: tuple[npt.NDArray[np.float32], ...] = ()
    norms: Vector = field(default_factory=lambda: np.empty(0))
    smallest_norm: float = 0.0
    starts: npt.NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))

    def scores(self, embedding: npt.NDArray[np.floating]) -> Scores:
        """Cosines of embeddings [..., d] to every adapter with a centroid [w], d = w or w + 1.

        Raises:
            InvalidCentroid: the embeddings' width is neither.
        """
        if not self.names:
            return Scores((), (), np.empty((*embedding.shape[:-1], 0)))
        width = self.columns[0].shape[0]
        if embedding.shape[-1:] not in ((width,), (width + 1,)):
            raise InvalidCentroid(
                f"an embedding of {embedding.shape[-1]} values was looked up among centroids of"
                f" {width}; they must come from one encoder"
            )
        # One by one, so that each is as if it were alone, to the last bit.
        each = [self._cosines(one) for one in embedding.reshape(-1, embedding.shape[-1])]
        cosines = (
            each[0]
            if embedding.ndim == 1
            else np.array(each).reshape(*embedding.shape[:-1], len(self.names))
        )
        return Scores(self.names, self.digests, cosines)

    def _cosines(self, embedding: npt.NDArray[np.floating]) -> Vector:
        """Cosines [n] of one embedding [w]."""
        wide = embedding.astype(np.float64)
        length = math.sqrt(wide @ wide)
        unit = (wide / (length or 1.0))[: self.columns[0].shape[0]].astype(np.float32)
        cosines: Vector = product(self.columns, unit).astype(np.float64)
        if self.smallest_norm * length < NORM_FLOOR:
            lengths = self.norms * length
            cosines *= lengths / np.maximum(lengths, NORM_FLOOR)
        if len(self.starts) < len(cosines):
            cosines = np.maximum.reduceat(cosines, self.starts)
        return cosines

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

    def scores(self, embedding: npt.NDArray[np.floating]) -> Scores:
        """Cosines of embeddings [..., d] to every adapter that has a centroid."""
        return self._snapshot.scores(embedding)

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
    norms = np.linalg.norm(rows, axis=1)
    if not norms.all():
        raise InvalidCentroid(f"a centroid of adapter {name!r} is zero; no cosine can be taken")
    return Entry(digest, (rows / norms[:, None]).astype(np.float32), norms)


def built(entries: dict[str, Entry]) -> IndexSnapshot:
    """The snapshot of these adapters.

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
    return IndexSnapshot(
        entries=frozen,
        names=tuple(scored),
        digests=tuple(scored.values()),
        columns=_columns(list(scored), rows),
        norms=lengths,
        smallest_norm=float(lengths.min()),
        starts=starts[:-1],
    )


def _columns(
    names: list[str], rows: list[npt.NDArray[np.float32]]
) -> tuple[npt.NDArray[np.float32], ...]:
    width = rows[0].shape[1]
    for name, part in zip(names, rows, strict=True):
        if part.shape[1] != width:
            raise InvalidCentroid(
                f"centroids of one index have one width, but adapter {name!r} has"
                f" {part.shape[1]} values and adapter {names[0]!r} has {width}"
            )
    return in_parts(np.concatenate(rows))
