"""From records to figures: losses, differences, distances, and how well the router picks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.scopes.items import Item
from benchmarks.scopes.records import Record
from benchmarks.scopes.statistics import Estimate, estimates
from benchmarks.scopes.variants import OWN, Variant

Cells = dict[str, Estimate]
"""Task (and their mean) → figure."""
Look = Callable[[Item, Variant], Record | None]


@dataclass(frozen=True)
class Results:
    """The figures of a run, each by row and task.

    Attributes:
        items: how many items of each task the losses are over.
        losses: nats a token of the answer.
        differences: loss less that of the row's policy in scope ``prompt``, item by item.
        few: how many items of each task ``recompute`` was run on.
        few_losses: losses on these alone, ``recompute`` among them.
        kl: mean KL(recompute ‖ scope) of the next-token distributions, in nats.
        changed: share of the steps at which the likeliest token is another than in ``recompute``.
        own: mean weight of the task's own adapter.
        leads: share of the steps at which it is the heaviest.
    """

    items: dict[str, int]
    losses: dict[str, Cells]
    differences: dict[str, Cells]
    few: dict[str, int]
    few_losses: dict[str, Cells]
    kl: dict[str, Cells]
    changed: dict[str, Cells]
    own: dict[str, Cells]
    leads: dict[str, Cells]


def results(items: Sequence[Item], variants: Sequence[Variant], look: Look) -> Results:
    """All figures of the items that every variant was measured on; others are left out."""
    rerun = [variant for variant in variants if variant.scope == "recompute"]
    once = [variant for variant in variants if variant.scope != "recompute"]
    many = _complete(items, once, look)
    few = _complete(items, variants, look) if rerun else []
    prompts = {v.policy: v.title for v in once if v.scope == "prompt"}
    routed = [v for v in once if v.policy]
    compared = [(v, prompts[v.policy]) for v in routed if v.scope == "token"]
    few_rows = [v.title for v in variants if v.policy]
    pairs = [(OWN, title) for title in prompts.values()] + [(v.title, to) for v, to in compared]
    if not many:
        return Results({}, {}, {}, {}, {}, {}, {}, {}, {})
    return Results(
        items=_counts(many),
        losses={title: _cells(many, title, _loss) for title in _titles(once)},
        differences={f"{a} − {b}": _difference(many, a, b) for a, b in pairs},
        few=_counts(few),
        few_losses={title: _cells(few, title, _loss) for title in few_rows if few},
        kl=_distances(few, rerun, lambda r, scope: r.distance[scope].kl),
        changed=_distances(few, rerun, lambda r, scope: float(r.distance[scope].changed)),
        own={v.title: _cells(many, v.title, lambda r: (r.own or 0.0) * r.tokens) for v in routed},
        leads={v.title: _cells(many, v.title, lambda r: float(r.leads or 0)) for v in routed},
    )


Rows = Mapping[str, Record]
"""One item's records by row of the table."""


def _complete(items: Iterable[Item], variants: Sequence[Variant], look: Look) -> list[Rows]:
    found: list[Rows] = []
    for item in items:
        records = {variant.title: look(item, variant) for variant in variants}
        rows = {title: record for title, record in records.items() if record is not None}
        if len(rows) == len(records):
            found.append({**rows, OWN: rows[item.task]})
    return found


def _titles(once: Sequence[Variant]) -> list[str]:
    fixed = [variant.title for variant in once if variant.scope == "fixed"]
    return [*fixed, OWN, *(variant.title for variant in once if variant.scope != "fixed")]


def _counts(items: Sequence[Rows]) -> dict[str, int]:
    tasks = [rows[OWN].task for rows in items]
    return {task: tasks.count(task) for task in dict.fromkeys(tasks)}


def _loss(record: Record) -> float:
    return record.loss


def _cells(items: Sequence[Rows], title: str, value: Callable[[Record], float]) -> Cells:
    return _by_task(items, lambda rows: value(rows[title]))


def _difference(items: Sequence[Rows], title: str, other: str) -> Cells:
    return _by_task(items, lambda rows: rows[title].loss - rows[other].loss)


def _distances(
    items: Sequence[Rows],
    variants: Sequence[Variant],
    value: Callable[[Record, str], float],
) -> dict[str, Cells]:
    found = {}
    for variant in variants if items else ():
        for scope in ("prompt", "token"):
            name = f"{variant.policy}, {scope}" + f", stride {variant.stride}" * (scope == "token")
            look = partial(_distance, title=variant.title, scope=scope, value=value)
            found[f"{name} from {variant.title}"] = _by_task(items, look)
    return found


def _distance(rows: Rows, title: str, scope: str, value: Callable[[Record, str], float]) -> float:
    return value(rows[title], scope)


def _by_task(items: Sequence[Rows], value: Callable[[Rows], float]) -> Cells:
    tasks = {}
    for task in _counts(items):
        mine = [rows for rows in items if rows[OWN].task == task]
        sums = np.array([value(rows) for rows in mine])
        tasks[task] = (sums, np.array([float(rows[OWN].tokens) for rows in mine]))
    return estimates(tasks)
