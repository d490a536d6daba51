"""The picture of a trace: areas of the adapters' weights, stacked over the tokens."""

from io import BytesIO

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from server.cli.plot.palette import BASE, COLOURS, colours
from server.cli.plot.trace_file import Plotted

_INCHES = (9.0, 3.6)
_DOTS_PER_INCH = 150
_HATCHES = ("", "//", "..", "\\\\", "xx", "++")
_TIMELESS = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


def draw(plotted: Plotted, suffix: str) -> bytes:
    """The picture in a file format: equal traces give equal bytes.

    Colours stay apart for the colour-blind; areas beyond the seventh are hatched.

    Args:
        plotted: what to draw.
        suffix: ``svg``, ``png`` or ``pdf``.
    """
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.add_subplot()
    names = list(plotted.weights)
    palette = colours(names)
    # The last step reaches to the end of the last token.
    edges = [*plotted.starts, plotted.tokens]
    below = [0.0] * len(edges)
    for position, name in enumerate(names):
        line = plotted.weights[name]
        above = [low + high for low, high in zip(below, [*line, line[-1]], strict=True)]
        axes.fill_between(
            edges,
            below,
            above,
            step="post",
            label=name,
            facecolor=palette[name],
            hatch="" if name == BASE else _HATCHES[position // len(COLOURS) % len(_HATCHES)],
            edgecolor="white",
            linewidth=0.5,
        )
        below = above
    axes.set_xlim(0, plotted.tokens)
    axes.set_ylim(0, max(1.0, *below))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("generated token")
    axes.set_ylabel("weight")
    axes.set_title(plotted.title, fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    # From top to bottom, as the areas lie.
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", frameon=False)
    picture = BytesIO()
    with mpl.rc_context({"svg.hashsalt": "loralloy", "svg.fonttype": "none"}):
        figure.savefig(
            picture, format=suffix, dpi=_DOTS_PER_INCH, metadata=_TIMELESS.get(suffix, {})
        )
    return picture.getvalue()
