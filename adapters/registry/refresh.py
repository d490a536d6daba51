"""Takes up what other servers on the same database have changed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.adapter import Adapter
from adapters.database.records import Problem, routing_row
from adapters.database.rows import Changes
from adapters.registry.restart import SetAside
from adapters.registry.snapshot import Snapshot

TakeUp = Callable[[Iterable[Mapping[str, Any]]], tuple[list[Adapter], SetAside]]
"""Rows → adapters that can be served, and names that cannot."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a look at the database has brought.

    Attributes:
        changed: adapters that are new or not as they were.
        gone: names that are not served any more.
        problems: names that others have changed and that cannot be served here.
    """

    changed: tuple[Adapter, ...] = ()
    gone: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything has changed."""
        return bool(self.changed or self.gone or self.problems)


def refreshed(
    changes: Changes, snapshot: Snapshot, aside: SetAside, take_up: TakeUp
) -> tuple[Snapshot, Refreshed]:
    """Bring a snapshot, and the names set aside, up to a revision.

    Raises:
        StorageFailed: the store refused; nothing has changed.
    """
    if changes.names is None:
        return snapshot, Refreshed()
    rows = [row for row in changes.rows if not _is_known(row, snapshot)]
    adapters, other = take_up(rows)
    changed = tuple(one for one in adapters if snapshot.by_name.get(one.name) != one)
    names = {str(row["name"]) for row in rows}
    lost = (snapshot.by_name.keys() | aside.adapters.keys() | aside.unreadable) - changes.names
    aside.replace(names | lost, other)
    served = {**snapshot.by_name, **{one.name: one for one in changed}}
    unserved = lost | {problem.name for problem in other.problems}
    gone = tuple(sorted(unserved & served.keys()))
    kept = (one for name, one in served.items() if name not in unserved)
    return Snapshot.of(kept), Refreshed(changed, gone, tuple(other.problems))


def _is_known(row: Mapping[str, Any], snapshot: Snapshot) -> bool:
    """Whether a row tells what is served already, as this server's own changes do."""
    now = snapshot.by_name.get(str(row["name"]))
    return now is not None and (
        (now.version, now.digest, now.created) == (row["number"], row["digest"], row["created"])
        and now.removing == bool(row["removing"])
        and routing_row(now.routing) == row["routing"]
    )
