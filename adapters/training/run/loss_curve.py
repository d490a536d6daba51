"""The losses of a run as a picture (SVG)."""

import json
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

_INCHES = (7.0, 3.2)
_SMOOTHED = 20
"""The line is the mean of so many steps; each step is a dot."""


def draw_losses(log: Path, target: Path, title: str) -> None:
    """Draw the losses in a log of steps."""
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = [entry["step"] for entry in entries]
    losses = [entry["loss"] for entry in entries]
    means = [
        sum(near) / len(near)
        for near in (losses[max(0, at - _SMOOTHED + 1) : at + 1] for at in range(len(losses)))
    ]
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(steps, losses, ".", markersize=3, color="#9db7d5", label="a step")
    axes.plot(steps, means, color="#1f5a96", label=f"mean of {_SMOOTHED}")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.set_title(title, fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with mpl.rc_context({"svg.hashsalt": "loralloy", "svg.fonttype": "none"}):
        figure.savefig(target, format="svg", metadata={"Date": None})
