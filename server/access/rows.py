"""The API keys of a database: made, revoked, read. Whatever changes one is in the audit log."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, func, insert, select, update

from adapters.database.connection import database_errors
from server.access import audit
from server.access.keys import AdapterRule, ApiKey, Quota, digest_of
from server.access.tables import api_keys


@dataclass(frozen=True, slots=True)
class Stored:
    """The keys of a database at one moment.

    Attributes:
        by_digest: those that are not revoked.
        total: all that there ever were.
    """

    by_digest: Mapping[str, ApiKey]
    total: int


class KeyRows:
    """The rows of one database; also one that a running server reads. Thread-safe.

    Every method raises StorageFailed if the database refuses.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, key: str, facts: ApiKey, actor: str) -> None:
        """Keep a new key, as its digest.

        Args:
            key: the key itself, which is not kept.
            facts: what it is and may do.
            actor: who made it.
        """
        row = {
            "id": facts.id,
            "digest": digest_of(key),
            "role": facts.role,
            "adapters": None if facts.adapters.patterns is None else list(facts.adapters.patterns),
            "note": facts.note,
            "created": facts.created,
            "expires": facts.expires,
            "requests_per_minute": facts.quota.requests_per_minute,
            "max_concurrent": facts.quota.max_concurrent,
        }
        shown = {name: row[name] for name in ("role", "adapters", "expires")}
        entry = audit.AuditEntry(actor, "key.create", facts.id, detail=shown)
        with database_errors("keep an API key"), self._engine.begin() as connection:
            connection.execute(insert(api_keys).values(**row))
            audit.add(connection, entry)
        audit.log(entry)

    def revoke(self, key_id: str, actor: str) -> bool:
        """Take no more requests by a key; False if there is none, or it is revoked already."""
        change = (
            update(api_keys)
            .where(api_keys.c.id == key_id, api_keys.c.revoked.is_(None))
            .values(revoked=time.time())
        )
        entry = audit.AuditEntry(actor, "key.revoke", key_id)
        with database_errors("revoke an API key"), self._engine.begin() as connection:
            if connection.execute(change).rowcount != 1:
                return False
            audit.add(connection, entry)
        audit.log(entry)
        return True

    def all(self) -> list[ApiKey]:
        """Every key that there ever was, the oldest first."""
        query = select(api_keys).order_by(api_keys.c.created, api_keys.c.id)
        with database_errors("read the API keys"), self._engine.connect() as connection:
            return [_key(row) for row in connection.execute(query).mappings()]

    def stored(self) -> Stored:
        """What a server needs to know of them."""
        query = select(api_keys).where(api_keys.c.revoked.is_(None))
        with database_errors("read the API keys"), self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
            total = connection.scalar(select(func.count()).select_from(api_keys)) or 0
        return Stored({row["digest"]: _key(row) for row in rows}, total)

    def mark(self) -> tuple[int, int]:
        """Two numbers that are other ones once a key has come or gone."""
        query = select(func.count(), func.count(api_keys.c.revoked)).select_from(api_keys)
        with database_errors("read the API keys"), self._engine.connect() as connection:
            total, revoked = connection.execute(query).one()
            return int(total), int(revoked)

    def used(self, when: Mapping[str, float]) -> None:
        """Note when keys were last used: id → seconds since 1970."""
        with database_errors("note when API keys were used"), self._engine.begin() as connection:
            for key_id, moment in when.items():
                connection.execute(
                    update(api_keys).where(api_keys.c.id == key_id).values(last_used=moment)
                )


def _key(row: Mapping[Any, Any]) -> ApiKey:
    patterns = row["adapters"]
    return ApiKey(
        id=row["id"],
        role=row["role"],
        created=row["created"],
        adapters=AdapterRule(None if patterns is None else tuple(map(str, patterns))),
        note=row["note"],
        expires=row["expires"],
        revoked=row["revoked"],
        last_used=row["last_used"],
        quota=Quota(row["requests_per_minute"], row["max_concurrent"]),
    )
