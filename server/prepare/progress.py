"""Progress on the terminal: a bar with the elapsed time, or plain lines where there is none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

READY = "ready"
"""The name of the last step."""


class Report:
    """Where one asset's preparation stands; the base class says nothing at all."""

    def step(self, name: str) -> None:
        """A new step begins."""


class _Lines(Report):
    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title

    def step(self, name: str) -> None:
        self._console.print(f"{self._title}: {name}", highlight=False)


class _Bar(Report):
    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._title = title
        self._task = progress.add_task(title, total=None)

    def step(self, name: str) -> None:
        label = f"{self._title}: {name}"
        if name == READY:
            self._progress.update(self._task, description=label, completed=1, total=1)
        else:
            self._progress.update(self._task, description=label)


@contextmanager
def reporting(quiet: bool) -> Iterator[Callable[[str], Report]]:
    """Report on assets, each by its title, on the error stream: printed paths can be piped on."""
    console = Console(stderr=True)
    if quiet:
        yield lambda title: Report()
    elif not console.is_terminal:
        yield partial(_Lines, console)
    else:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console) as progress:
            yield partial(_Bar, progress)
