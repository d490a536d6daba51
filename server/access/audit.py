"""The log of what admins did: added to and never changed; the oldest entries are pruned.

Each entry is also one line of the server's log, so that it survives where the database does not.
"""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Engine, delete, func, insert, select

from adapters.database.connection import database_errors
from adapters.errors import StorageFailed
from server.access.tables import audit

logger = logging.getLogger(__name__)

CLI: Final = "cli"
NOBODY: Final = "anonymous"
DONE: Final = "done"

_TARGET_CHARACTERS = 256


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
    fields = {key: value for key, value in asdict(entry).items() if key != "time"}
    logger.info("audit %s", json.dumps(fields, sort_keys=True))


def add(connection: Connection, entry: AuditEntry) -> None:
    """Add an entry within the transaction that does what it tells of."""
    row = {
        **asdict(entry),
        "target": entry.target[:_TARGET_CHARACTERS],
        "detail": dict(entry.detail),
    }
    connection.execute(insert(audit).values(**row))


def prune(connection: Connection, keep: int) -> None:
    """Drop the oldest entries beyond ``keep``."""
    latest = connection.scalar(select(func.max(audit.c.id)))
    if latest is not None and latest > keep:
        connection.execute(delete(audit).where(audit.c.id <= latest - keep))


def _entry(row: dict[str, Any]) -> NumberedEntry:
    number = row.pop("id")
    return NumberedEntry(number, AuditEntry(**row))
