"""Colours of adapters that stay apart for the colour-blind, in terminals and in plots.

Source: M. Okabe, K. Ito, "Color Universal Design" (2008), without black; yellow comes last, since
it is faint on white.
"""

from collections.abc import Iterable

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
GREY = "#999999"
BASE = "base model"
"""What goes to no adapter. No adapter has this name: names hold no blanks."""


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name; after the seventh they come again. The base model is grey."""
    others = [name for name in dict.fromkeys(names) if name != BASE]
    found = {name: COLOURS[position % len(COLOURS)] for position, name in enumerate(others)}
    return {**found, BASE: GREY}
