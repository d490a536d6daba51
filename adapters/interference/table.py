"""The measures of several adapters, pair by pair, as CSV."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import combinations

from adapters.errors import InvalidAdapter
from adapters.format.factors import Factors
from adapters.interference.measures import ModuleOverlap, Overlap, module_overlaps, overall

COLUMNS = (
    *("row_cosine", "cross_gram", "delta_cosine", "mask_overlap"),
    *("row_chance", "gram_chance", "mask_chance"),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two adapters, everywhere and module by module."""

    first: str
    second: str
    overall: Overlap
    modules: Sequence[ModuleOverlap]


def pairs(adapters: Mapping[str, Mapping[str, Factors]]) -> list[Pair]:
    """Every two of the adapters, by name.

    Raises:
        InvalidAdapter: two of them have nothing in common that could be measured.
    """
    found = []
    for (one, mine), (other, theirs) in combinations(adapters.items(), 2):
        try:
            modules = module_overlaps(mine, theirs)
        except InvalidAdapter as error:
            raise InvalidAdapter(f"{one} and {other}: {error}") from error
        found.append(Pair(one, other, overall(modules), modules))
    return found


def as_csv(found: Sequence[Pair]) -> str:
    """A line for each pair, then for each of its modules; what does not apply is empty."""
    out = StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(["first", "second", "layer", "module", *COLUMNS])
    for pair in found:
        lines.writerow([pair.first, pair.second, "", "all", *_values(pair.overall)])
        for one in pair.modules:
            layer = "" if one.layer is None else one.layer
            values = _values(one.overlap)
            lines.writerow([pair.first, pair.second, layer, one.module, *values])
    return out.getvalue()


def _values(overlap: Overlap) -> list[str]:
    values = (getattr(overlap, column) for column in COLUMNS)
    return ["" if value is None else f"{value:.6g}" for value in values]
