"""Takes up the names again after a restart, leaving out what no longer holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.adapter import Adapter
from adapters.base_model import BaseModelShapes
from adapters.errors import AdapterError, InvalidAdapter, MissingFile
from adapters.files import storage_errors
from adapters.limits import Limits
from adapters.names import check_name
from adapters.records import (
    MAX_RECORD_BYTES,
    RECORD_SUFFIX,
    Problem,
    Record,
    decode_record,
    fit_key,
)
from adapters.store import AdapterStore
from adapters.strict_json import read_json_object
from adapters.validation import inspect


@dataclass(frozen=True, slots=True)
class LoadedNames:
    """What the records on disk amount to.

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
    folder: Path, store: AdapterStore, base: BaseModelShapes, limits: Limits
) -> LoadedNames:
    """Read all records of a folder, made if absent; nothing in it is fatal."""
    with storage_errors("open the folder of adapter names"):
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        paths = sorted(folder.glob(f"*{RECORD_SUFFIX}"))
    adapters: list[Adapter] = []
    set_aside: dict[str, Adapter] = {}
    problems: list[Problem] = []
    unreadable: set[str] = set()
    for path in paths:
        name = path.name.removesuffix(RECORD_SUFFIX)
        try:
            record = _read_record(path, name, store)
        except AdapterError as error:
            unreadable.add(name)
            problems.append(Problem(name, str(error)))
            continue
        try:
            _check_still_fits(record, store, base, limits)
        except InvalidAdapter as error:
            set_aside[name] = record.adapter
            problems.append(Problem(name, str(error)))
            continue
        adapters.append(record.adapter)
    return LoadedNames(adapters, set_aside, frozenset(unreadable), problems)


def _read_record(path: Path, name: str, store: AdapterStore) -> Record:
    check_name(name)
    return decode_record(read_json_object(path, MAX_RECORD_BYTES), name, store.path)


def _check_still_fits(
    record: Record, store: AdapterStore, base: BaseModelShapes, limits: Limits
) -> None:
    """The content must be there, and fit the base model and the limits of this start.

    Where both are as they were when the record was written, its own figures will do, so that
    thousands of adapters are taken up in a moment.
    """
    adapter = record.adapter
    if not store.has(adapter.digest) or store.size_bytes(adapter.digest) != adapter.size_bytes:
        raise MissingFile("its stored content is missing or damaged; upload it again")
    if record.fitted != fit_key(base) or adapter.rank > limits.max_lora_rank:
        inspect(adapter.path, base, limits)
