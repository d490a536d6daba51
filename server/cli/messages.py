"""Errors of the command line: one line on the standard error, exit code 1."""

import sys

from rich.console import Console


class CommandError(Exception):
    """Something the user has to know; the message is one line."""


def fail(message: str) -> int:
    """Print the line; returns the exit code."""
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return 1


_WIDE = 1000


def console() -> Console:
    """The standard output: as wide as a terminal, and piped so wide that no name is cut short."""
    return Console(width=None if sys.stdout.isatty() else _WIDE)
