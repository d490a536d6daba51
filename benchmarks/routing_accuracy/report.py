"""The figures as Markdown."""

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.routing_accuracy.variants import SOFT, TEMPERATURES, Figures

Table = Mapping[str, Mapping[str, Figures]]


def mean(rows: Sequence[Mapping[str, Figures]]) -> dict[str, Figures]:
    """Task → the mean of its figures in several splits."""
    return {
        task: Figures(
            top_1=_mean(row[task].top_1 for row in rows),
            own=_mean(row[task].own for row in rows),
            surprise={
                temperature: _mean(row[task].surprise[temperature] for row in rows)
                for temperature in TEMPERATURES
            },
        )
        for task in rows[0]
    }


def markdown(
    choosing: Table,
    held_out: Table,
    counts: Mapping[str, Mapping[str, int]],
    items: Mapping[str, int],
) -> str:
    """Both tables, and what is in them."""
    counted = ", ".join(f"{task} {count}" for task, count in items.items())
    parts = [
        "# Routing accuracy",
        "`python -m benchmarks.routing_accuracy --data FOLDER`. Four adapters, one for each task; "
        "prompts as the adapters were trained on, embedded by all-MiniLM-L6-v2. **Top-1**: share "
        "of a task's prompts whose best score is its own adapter's. **Own weight**: mean weight of "
        "that adapter under policy `auto`. **Surprise**: mean −ln of its weight under a softmax of "
        "all scores with temperature T, in nats, mean of the tasks; smaller is better.",
        "## Held-out prompts",
        f"The first of each held-out file: {counted}. Centroids are made from training prompts "
        "(600 of each file). The passages of `reading` are on other subjects than those it was "
        "fitted on, and several questions share one, so that its figures vary more than 200 "
        "prompts would suggest.",
        _table(held_out, counts),
        "## Choosing",
        "On training prompts that centroids were not made from (200 of each task; all of "
        "`reading`, by the centroids of other passages, in five blocks). Held-out prompts played "
        "no part in the choice. *Plain*: means of k-means clusters. *Halfway*: as in "
        "`router/centroids/clusters.py`. Scores are the largest cosine, or a soft one "
        f"(T ln mean exp(s/T), T = {SOFT:g}), or the mean of the two largest.",
        _table(choosing),
    ]
    return "\n\n".join(parts) + "\n"


def _table(table: Table, counts: Mapping[str, Mapping[str, int]] | None = None) -> str:
    tasks = list(next(iter(table.values())))
    heads = ["top-1 · own weight", *(["centroids"] if counts else []), *tasks, "mean"]
    heads += [f"surprise, T {temperature:g}" for temperature in TEMPERATURES]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for title, row in table.items():
        cells = [title]
        if counts:
            cells.append(", ".join(str(counts[title][task]) for task in tasks))
        shares = [(row[task].top_1, row[task].own) for task in tasks]
        shares.append((_mean(top_1 for top_1, _ in shares), _mean(own for _, own in shares)))
        cells += [f"{top_1:.3f} · {own:.3f}" for top_1, own in shares]
        for temperature in TEMPERATURES:
            cells.append(f"{_mean(row[task].surprise[temperature] for task in tasks):.3f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
