"""The picture of interference: a panel for each measure, pairs down, layers across."""

from collections.abc import Callable, Sequence
from io import BytesIO

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from adapters.interference.measures import Overlap, by_layer
from adapters.interference.table import Pair
from adapters.printable import printable

_PANELS: tuple[tuple[str, Callable[[Overlap], float | None]], ...] = (
    ("rows of A: mean |cosine|", lambda one: one.row_cosine),
    ("A: cross-Gram", lambda one: one.cross_gram),
    ("updates: |cosine|", lambda one: abs(one.delta_cosine)),
    ("masks of B: overlap", lambda one: one.mask_overlap),
)
_WIDTH, _PER_ROW, _PER_PANEL = 9.0, 0.28, 0.9
_DOTS_PER_INCH = 150


def draw(pairs: Sequence[Pair], suffix: str) -> bytes:
    """The picture in a file format (``svg``, ``png`` or ``pdf``): equal pairs give equal bytes."""
    layers = sorted({layer for pair in pairs for layer in by_layer(pair.modules)})
    grids = {title: _grid(pairs, layers, measure) for title, measure in _PANELS}
    shown = {title: grid for title, grid in grids.items() if np.isfinite(grid).any()}
    height = len(shown) * (_PER_PANEL + _PER_ROW * len(pairs))
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axes, (title, grid) in zip(panels, shown.items(), strict=True):
        image = axes.imshow(grid, aspect="auto", cmap="viridis", vmin=0, interpolation="nearest")
        axes.set_title(title, fontsize="medium")
        labels = [printable(f"{pair.first}, {pair.second}") for pair in pairs]
        axes.set_yticks(range(len(pairs)), labels, parse_math=False)
        axes.set_xlabel("layer")
        figure.colorbar(image, ax=axes)
    picture = BytesIO()
    with mpl.rc_context({"svg.hashsalt": "loralloy", "svg.fonttype": "none"}):
        timeless = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix, {})
        figure.savefig(picture, format=suffix, dpi=_DOTS_PER_INCH, metadata=timeless)
    return picture.getvalue()


def _grid(
    pairs: Sequence[Pair], layers: Sequence[int], measure: Callable[[Overlap], float | None]
) -> np.ndarray:
    """[pairs, layers]; NaN where the measure does not apply."""
    rows = []
    for pair in pairs:
        found = by_layer(pair.modules)
        values = [measure(found[layer]) if layer in found else None for layer in layers]
        rows.append([float("nan") if value is None else value for value in values])
    return np.array(rows)
