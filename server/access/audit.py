"""The log of what admins did: added to and never changed; the oldest entries are pruned.

Each entry is also one line of the server's log, so that it survives where the database does not.
"""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from sqlalchemy import Connection, Engine, delete, func, insert, select

from adapters.database.connection import database_errors
from adapters.errors import StorageFailed
from server.access.tables import audit

logger = logging.getLogger(__name__)

CLI: Final = "cli"
NOBODY: Final = "anonymous"
DONE: Final = "done"

_CHARACTERS = 256
"""Of one text of an entry, as JSON writes it."""
_ITEMS = 32
"""Of one list of an entry."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What somebody did.

    Attributes:
        actor: a key's id, ``cli``, or ``anonymous`` where no key was needed.
        action: as ``adapter.add``.
        target: the name of what it was done to.
        outcome: ``done``, or the code of the error that it ended in.
        detail: what else is worth knowing, plain values. Never a secret.
        request_id: of the request that asked for it.
    """

    actor: str
    action: str
    target: str
    outcome: str = DONE
    detail: Mapping[str, Any] = field(default_factory=dict)
    request_id: str | None = None
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class NumberedEntry:
    """An entry as it stands in the log, under its number."""

    id: int
    entry: AuditEntry

    def as_json(self) -> dict[str, Any]:
        """The entry as the wire has it."""
        return {"id": self.id, "object": "audit.entry", **asdict(self.entry)}


class AuditLog:
    """The log in one database. Thread-safe.

    Args:
        engine: the database.
        keep: entries that stay; the oldest beyond them go.
    """

    def __init__(self, engine: Engine, keep: int) -> None:
        self._engine = engine
        self._keep = keep

    def record(self, entry: AuditEntry) -> None:
        """Add what has been done. It stands in the server's log if not in the database."""
        log(entry)
        try:
            with (
                database_errors("write the audit log"),
                self._engine.begin() as connection,
            ):
                add(connection, entry)
                prune(connection, self._keep)
        except StorageFailed as error:
            # What was done is done: the caller is to hear of that.
            logger.error("the audit log lacks the entry above: %s", error)

    def page(self, limit: int, before: int | None = None) -> list[NumberedEntry]:
        """The latest entries, the newest first.

        Args:
            limit: how many at most.
            before: only entries of smaller numbers.

        Raises:
            StorageFailed: the database refused.
        """
        query = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.id < before)
        with database_errors("read the audit log"), self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [_entry(dict(row)) for row in rows]


def log(entry: AuditEntry) -> None:
    """Write an entry to the server's log, as one line of JSON."""
    fields = {key: value for key, value in asdict(_bounded(entry)).items() if key != "time"}
    logger.info("audit %s", json.dumps(fields, sort_keys=True))


def add(connection: Connection, entry: AuditEntry) -> None:
    """Add an entry within the transaction that does what it tells of."""
    connection.execute(insert(audit).values(**asdict(_bounded(entry))))


def prune(connection: Connection, keep: int) -> None:
    """Drop the oldest entries beyond ``keep``."""
    latest = connection.scalar(select(func.max(audit.c.id)))
    if latest is not None and latest > keep:
        connection.execute(delete(audit).where(audit.c.id <= latest - keep))


def _bounded(entry: AuditEntry) -> AuditEntry:
    """The entry, no longer than a line that is read: what it quotes of a request is cut short."""
    detail = {key: _bounded_value(value) for key, value in entry.detail.items()}
    return replace(entry, target=_short(entry.target), detail=detail)


def _bounded_value(value: Any) -> Any:  # noqa: ANN401 - a plain value
    if isinstance(value, list | tuple):
        more = len(value) - _ITEMS
        kept = [_bounded_value(item) for item in value[:_ITEMS]]
        return [*kept, f"and {more} more"] if more > 0 else kept
    return _short(value) if isinstance(value, str) else value


def _short(text: str) -> str:
    """A text, or its beginning and an ellipsis; escapes count as the line has them."""
    written = 0
    for position, character in enumerate(text[: _CHARACTERS + 1]):
        written += len(json.dumps(character)) - 2
        if written > _CHARACTERS:
            return text[:position] + "…"
    return text


def _entry(row: dict[str, Any]) -> NumberedEntry:
    number = row.pop("id")
    return NumberedEntry(number, AuditEntry(**row))
