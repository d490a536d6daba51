"""Takes up the names again after a restart, leaving out what no longer holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapters.adapter import Adapter
from adapters.base_model import BaseModelShapes
from adapters.errors import AdapterError, InvalidAdapter, MissingFile
from adapters.ledger import Ledger
from adapters.limits import Limits
from adapters.names import check_name
from adapters.records import Problem, Record, fit_key, record_of
from adapters.store import AdapterStore
from adapters.validation import inspect


@dataclass(frozen=True, slots=True)
class LoadedNames:
    """What the records amount to.

    Attributes:
        adapters: Those that can be served.
        set_aside: Name → adapter whose content is missing or does not fit the base model now.
        unreadable: Names whose records are damaged.
        problems: One per name set aside or unreadable.
    """

    adapters: Sequence[Adapter]
    set_aside: Mapping[str, Adapter]
    unreadable: frozenset[str]
    problems: Sequence[Problem]


def load_names(
    ledger: Ledger, store: AdapterStore, base: BaseModelShapes, limits: Limits
) -> LoadedNames:
    """Read all records; no single one is fatal.

    Raises:
        StorageFailed: the database refused.
    """
    adapters: list[Adapter] = []
    set_aside: dict[str, Adapter] = {}
    problems: list[Problem] = []
    unreadable: set[str] = set()
    for row in ledger.rows():
        name = str(row["name"])
        try:
            check_name(name)
            record = record_of(row, store.path)
        except AdapterError as error:
            unreadable.add(name)
            problems.append(Problem(name, str(error)))
            continue
        try:
            check_still_fits(record, store, base, limits)
        except InvalidAdapter as error:
            set_aside[name] = record.adapter
            problems.append(Problem(name, str(error)))
            continue
        adapters.append(record.adapter)
    return LoadedNames(adapters, set_aside, frozenset(unreadable), problems)


def check_still_fits(
    record: Record, store: AdapterStore, base: BaseModelShapes, limits: Limits
) -> None:
    """The content must be there, and fit the base model and the limits of this start.

    Where both are as they were when the record was written, its own figures will do, so that
    thousands of adapters are taken up in a moment.

    Raises:
        InvalidAdapter: it is not, or does not.
    """
    adapter = record.adapter
    if not store.has(adapter.digest) or store.size_bytes(adapter.digest) != adapter.size_bytes:
        raise MissingFile("its stored content is missing or damaged; upload it again")
    if record.fitted != fit_key(base) or adapter.rank > limits.max_lora_rank:
        inspect(adapter.path, base, limits)
