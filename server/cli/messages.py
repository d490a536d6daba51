"""What commands print, and their errors: one line on the standard error, exit code 1.

All of it goes through here, since much of it was written by strangers: descriptions of adapters,
answers of models, messages of servers. See ``adapters.printable``.
"""

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.highlighter import JSONHighlighter
from rich.segment import Segment
from rich.text import Text

from adapters.printable import printable, printable_json, printable_lines

_WIDE = 1000


class CommandError(Exception):
    """Something the user has to know; the message is one line."""


class SafeConsole(Console):
    """A console on which no text is a command: neither to the terminal nor to rich."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of the base class
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - as above
        """A text before its place is measured."""
        return super().render_str(printable_lines(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Whatever is to be printed; what is no plain text passes here on its way out."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable_lines(segment.text), segment.style)


def console() -> Console:
    """The standard output: as wide as a terminal, and piped so wide that no name is cut short."""
    return SafeConsole(width=None if sys.stdout.isatty() else _WIDE)


def errors() -> Console:
    """The standard error."""
    return SafeConsole(stderr=True)


def say(text: object, style: str | None = None) -> None:
    """Print one line."""
    console().print(printable(text), style=style, highlight=False, soft_wrap=True)


def warn(text: object) -> None:
    """Print one line on the standard error."""
    sys.stderr.write(f"{printable(text)}\n")


def show_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    """Print a value so that it can be read by people and programs."""
    console().print(JSONHighlighter()(printable_json(value)), soft_wrap=True)


def in_a_cell(text: object) -> str:
    """A text for a table: its lines as one, which no other row can be mistaken for."""
    return printable(" ".join(str(text).split()))


def fail(message: str) -> int:
    """Print the line of an error; returns the exit code."""
    warn(f"error: {' '.join(message.split())}")
    return 1
