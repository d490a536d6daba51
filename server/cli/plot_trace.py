"""``loralloy plot-trace``: the weights of an answer, token by token, as a picture."""

import json
import sys
from pathlib import Path
from typing import Any

import typer

from server.cli.messages import CommandError, say

_SUFFIXES = (".svg", ".png", ".pdf")
_STANDARD_INPUT = Path("-")


def plot_trace(
    file: Path = typer.Argument(
        ..., help="A trace as GET /v1/traces/ID answers; '-' reads the standard input."
    ),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="The picture: .svg, .png or .pdf. [FILE with .svg]"
    ),
    choice: int = typer.Option(0, "--choice", min=0, help="Which of several answers."),
) -> None:
    """Draw the weights of an answer over its tokens."""
    if out is not None and out.suffix.lower() not in _SUFFIXES:
        raise CommandError(f"{out} has no suffix of a picture; there are {', '.join(_SUFFIXES)}")
    document = _read(file)
    from server.cli.plot.trace_file import read_trace

    try:
        plotted = read_trace(document, choice)
    except ValueError as error:
        raise CommandError(f"{_named(file)} is not a trace that can be drawn: {error}") from None
    from server.cli.plot.figure import draw

    target = out or (Path("trace.svg") if file == _STANDARD_INPUT else file.with_suffix(".svg"))
    picture = draw(plotted, target.suffix.lower().removeprefix("."))
    try:
        target.write_bytes(picture)
    except OSError as error:
        raise CommandError(f"{target} cannot be written: {error.strerror or error}") from None
    say(f"{target}: {plotted.tokens} tokens")


def _read(file: Path) -> Any:  # noqa: ANN401 - JSON
    try:
        raw = sys.stdin.read() if file == _STANDARD_INPUT else file.read_text("utf-8")
    except OSError as error:
        raise CommandError(f"{_named(file)} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{_named(file)} is not valid JSON") from None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise CommandError(f"{_named(file)} is not valid JSON") from None


def _named(file: Path) -> str:
    return "the standard input" if file == _STANDARD_INPUT else str(file)
