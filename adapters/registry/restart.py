"""Takes up the names again after a restart, leaving out what no longer holds."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from adapters.adapter import Adapter
from adapters.database.records import Problem, Record, fit_key, record_of
from adapters.errors import AdapterError, InvalidAdapter, MissingFile
from adapters.limits import Limits
from adapters.names import check_name
from adapters.store import AdapterStore
from adapters.validation.base_model import BaseModelShapes
from adapters.validation.validate import inspect


class SetAside:
    """Names that could not be taken up at start; they are skipped, not lost.

    Attributes:
        adapters: name → adapter whose content is missing or does not fit the base model now.
        unreadable: names whose records are damaged.
        problems: one per such name.
    """

    def __init__(self) -> None:
        self.adapters: dict[str, Adapter] = {}
        self.unreadable: set[str] = set()
        self.problems: list[Problem] = []

    def put(self, name: str, error: AdapterError, adapter: Adapter | None = None) -> None:
        """Set a name aside; without an adapter its record cannot be read."""
        if adapter is None:
            self.unreadable.add(name)
        else:
            self.adapters[name] = adapter
        self.problems.append(Problem(name, str(error)))

    def replace(self, names: Collection[str], other: "SetAside") -> None:
        """Forget names, and take over what another start has found of them."""
        for name in names:
            self.settle(name)
        self.adapters |= other.adapters
        self.unreadable |= other.unreadable
        self.problems = [*self.problems, *other.problems]

    def settle(self, name: str) -> None:
        """The name's trouble is over."""
        self.adapters.pop(name, None)
        self.unreadable.discard(name)
        self.problems = [problem for problem in self.problems if problem.name != name]


def load_names(
    rows: Iterable[Mapping[str, Any]],
    size_of: Callable[[str], int | None],
    store: AdapterStore,
    base: BaseModelShapes,
    limits: Limits,
) -> tuple[list[Adapter], SetAside]:
    """Take up names; no single record is fatal.

    Args:
        rows: as :meth:`AdapterRows.changes` gives them.
        size_of: digest → bytes of its stored content; None if it is not there.
        store: where contents are.
        base: the base model of this start.
        limits: those of this start.

    Returns:
        The adapters that can be served, and the names that cannot.

    Raises:
        StorageFailed: the store refused.
    """
    adapters: list[Adapter] = []
    aside = SetAside()
    for row in rows:
        name = str(row["name"])
        try:
            check_name(name)
            record = record_of(row, store.path)
        except AdapterError as error:
            aside.put(name, error)
            continue
        try:
            check_still_fits(record, size_of(record.adapter.digest), store, base, limits)
        except InvalidAdapter as error:
            aside.put(name, error, record.adapter)
            continue
        adapters.append(record.adapter)
    return adapters, aside


def check_still_fits(
    record: Record,
    size_bytes: int | None,
    store: AdapterStore,
    base: BaseModelShapes,
    limits: Limits,
) -> None:
    """The content must be there, and fit the base model and the limits of this start.

    Where both are as they were when the record was written, its own figures will do, so that
    thousands of adapters are taken up in a moment.

    Raises:
        InvalidAdapter: it is not, or does not.
        StorageFailed: the store refused.
    """
    adapter = record.adapter
    if size_bytes != adapter.size_bytes:
        raise MissingFile("its stored content is missing or damaged; upload it again")
    if record.fitted != fit_key(base) or adapter.rank > limits.max_lora_rank:
        with store.held(adapter.digest) as folder:
            inspect(folder, base, limits)
