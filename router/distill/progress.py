"""The progress bars of a run, on the standard error."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bars:
    """A bar for each stage; none if quiet."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def each(self, items: Sequence[int], title: str) -> Iterator[int]:
        """The items, one step each."""
        with self._bar() as bar:
            yield from bar.track(items, description=title)

    def batches(self, batches: Sequence[Sequence[int]], title: str) -> Iterator[Sequence[int]]:
        """The batches, a step for each of their items: later batches may take longer."""
        with self._bar() as bar:
            task = bar.add_task(f"teacher: {title}", total=sum(len(batch) for batch in batches))
            for batch in batches:
                yield batch
                bar.advance(task, len(batch))

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=self._quiet,
        )
