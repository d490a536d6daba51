"""The results as Markdown for people."""

from collections.abc import Mapping

from benchmarks.scopes.results import Cells, Results
from benchmarks.scopes.statistics import MEAN, Estimate


def markdown(results: Results, about: str) -> str:
    """All tables; ``about`` says what was measured, how and where."""
    tasks = [*results.items, MEAN]
    parts = [
        "# What mixing gains, by scope and stride",
        about,
        "Nats a token of the gold answer, smaller is better, with a 95 % bootstrap interval over "
        f"the items ({_counted(results.items)}). The smallest of each column is bold.",
        table(results.losses, tasks, bold=True),
        "## Differences",
        "Loss of the first less loss of the second on the same items: below 0 the first is better.",
        table(results.differences, tasks, signed=True),
        "## Routing",
        "Mean weight of the task's own adapter over the answer's steps.",
        table(results.own, tasks),
        "Share of the steps at which it is the heaviest.",
        table(results.leads, tasks),
    ]
    if results.few:
        parts += [
            "## Recompute",
            f"Losses on the items that `recompute` was run on ({_counted(results.few)}).",
            table(results.few_losses, tasks, bold=True),
            "How far the next-token distributions of the cached scopes are from those of "
            "`recompute`: mean KL(recompute ‖ scope) in nats.",
            table(results.kl, tasks, digits=5),
            "Share of the steps at which the likeliest token is another one.",
            table(results.changed, tasks, digits=4),
        ]
    return "\n\n".join(parts) + "\n"


def table(
    rows: Mapping[str, Cells],
    tasks: list[str],
    *,
    digits: int = 3,
    bold: bool = False,
    signed: bool = False,
) -> str:
    """One table: a row for each name, a column for each task."""
    tasks = [task for task in tasks if all(task in cells for cells in rows.values())]
    best = {task: min((cells[task].mean for cells in rows.values()), default=0.0) for task in tasks}
    lines = ["| | " + " | ".join(tasks) + " |", "|---|" + "---|" * len(tasks)]
    for name, cells in rows.items():
        shown = [
            _cell(cells[task], digits, signed, bold and cells[task].mean == best[task])
            for task in tasks
        ]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _cell(estimate: Estimate, digits: int, signed: bool, bold: bool) -> str:
    form = f"{'+' if signed else ''}z.{digits}f"
    mean, low, high = (f"{x:{form}}" for x in (estimate.mean, estimate.low, estimate.high))
    return f"{f'**{mean}**' if bold else mean} ({low} to {high})"


def _counted(items: Mapping[str, int]) -> str:
    return ", ".join(f"{task} {count}" for task, count in items.items())
