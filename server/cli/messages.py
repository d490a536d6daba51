"""Errors of the command line: one line on the standard error, exit code 1."""

import sys


class Trouble(Exception):
    """Something the user has to know; the message is one line."""


def fail(message: str) -> int:
    """Print the line; returns the exit code."""
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return 1
