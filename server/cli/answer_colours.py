"""Prints an answer token by token in the colours of the adapters that led."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.style import Style
from rich.text import Text

from adapters.printable import printable, printable_lines
from server.cli.plot.palette import BASE, COLOURS, colours

_MARK = "■"


def leader(mixture: Mapping[str, Any]) -> str:
    """The adapter with the largest weight; the base model if none has more than its share."""
    weights: Mapping[str, float] = mixture["adapters"]
    best = max(weights, key=lambda name: weights[name], default=None)
    if best is None or weights[best] < mixture["base_share"]:
        return BASE
    return best


class Painter:
    """Colours one answer after another. Adapters get their colours in the order in which they lead.

    Where the terminal has no colours, the leader's name stands before the text that it begins.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._plain = console.no_color or console.color_system is None
        self._order: list[str] = []
        self._tokens: Counter[str] = Counter()
        self._last: str | None = None

    def begin(self) -> None:
        """Begin a new answer; colours stay."""
        self._tokens.clear()
        self._last = None

    def show(self, piece: str, mixture: Mapping[str, Any], tokens: int) -> None:
        """Print a piece of the answer.

        Args:
            piece: its text; nothing happens if it is empty.
            mixture: the one of its first token.
            tokens: how many tokens it has.
        """
        if not piece:
            return
        name = leader(mixture)
        self._tokens[name] += tokens
        if name not in self._order and name != BASE:
            self._order.append(name)
        if self._plain and name != self._last:
            self._print(f"[{printable(name)}]")
        self._last = name
        self._print(piece, None if self._plain else self._style(name))

    def legend(self) -> Text:
        """Names, colours, and the share of the tokens that each adapter led."""
        total = self._tokens.total()
        line = Text()
        for name, tokens in self._tokens.most_common():
            if not self._plain:
                line.append(_MARK, self._style(name))
                line.append(" ")
            line.append(f"{printable(name)} {tokens / max(1, total):.0%}  ")
        return line.append(f"of {total} tokens", "dim")

    def _style(self, name: str) -> Style:
        """A colour; underlined when the colours come round the second time."""
        turn = 0 if name == BASE else self._order.index(name) // len(COLOURS)
        return Style(color=colours(self._order)[name], underline=turn % 2 == 1)

    def _print(self, piece: str, style: Style | None = None) -> None:
        self._console.print(Text(printable_lines(piece), style or ""), end="", soft_wrap=True)
