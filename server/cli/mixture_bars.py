"""Mixtures in the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.bar import Bar
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.printable import printable
from server.cli.messages import in_a_cell

_WIDTH = 32


def show_weights(console: Console, mixture: Mapping[str, Any], scores: Mapping[str, float]) -> None:
    """A bar for each adapter's weight, and its score where there is one."""
    weights: dict[str, float] = dict(mixture["adapters"])
    if mixture["base_share"]:
        weights["(base model)"] = mixture["base_share"]
    for name in scores:
        weights.setdefault(name, 0.0)
    table = Table(box=None, pad_edge=False, show_header=bool(scores))
    table.add_column("adapter")
    table.add_column("weight", justify="right")
    table.add_column("")
    table.add_column("score", justify="right")
    widest = max([1.0, *weights.values()])
    for name, weight in sorted(weights.items(), key=lambda item: -item[1]):
        score = scores.get(name)
        table.add_row(
            Text(in_a_cell(name), style="bold" if weight else "dim"),
            f"{weight:.4f}",
            Bar(widest, 0, weight, width=_WIDTH, color="cyan"),
            Text("" if score is None else f"{score:+.3f}", style="dim"),
        )
    console.print(table)


def mixture_line(mixture: Mapping[str, Any]) -> str:
    """A mixture in one line: ``maths 0.70 + code 0.30``."""
    parts = [f"{name} {weight:.2f}" for name, weight in mixture["adapters"].items()]
    if mixture["base_share"]:
        parts.append(f"base model {mixture['base_share']:.2f}")
    text = " + ".join(parts)
    return printable(text if mixture["policy"] is None else f"{text}  by {mixture['policy']}")
