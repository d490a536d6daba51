"""Where the commands' tables go."""

import sys

from rich.console import Console

_WIDE = 1000


def console() -> Console:
    """The standard output: as wide as a terminal, and piped so wide that no name is cut short."""
    return Console(width=None if sys.stdout.isatty() else _WIDE)
