"""Policies as rows; every change is one transaction."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, delete, func, insert, select, tuple_, update

from adapters.database.connection import database_errors
from adapters.database.tables import adapters, registry
from router.policies import PolicyConfig
from server.errors import PolicyNameTaken
from server.policies.tables import policies

KEPT_VERSIONS: Final = 16


@dataclass(frozen=True, slots=True)
class Row:
    """One version of a policy.

    Attributes:
        number: from 1; the highest one counts.
        version: the digest of its options when it was put.
        options: as they were given.
        created: when it was put, in seconds since 1970 (UTC).
    """

    name: str
    number: int
    version: str
    options: Mapping[str, Any]
    created: float


Check = Callable[[Row | None], None]
"""Looks at a name's row of now, and raises if it must not be changed."""


class PolicyRows:
    """The rows of one database. Thread-safe.

    Every method raises StorageFailed if the database refuses.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def changes(self, since: int) -> tuple[int, list[Row] | None]:
        """The registry's revision, and the row of every policy; None if nothing has changed."""
        latest = select(policies.c.name, func.max(policies.c.number)).group_by(policies.c.name)
        query = select(policies).where(tuple_(policies.c.name, policies.c.number).in_(latest))
        with database_errors("read the policies"), self._engine.connect() as connection:
            # The revision first: what is committed after it is read again the next time.
            revision: int = connection.execute(select(registry.c.revision)).scalar_one()
            if revision == since:
                return since, None
            return revision, [Row(*row) for row in connection.execute(query)]

    def history(self, name: str) -> list[Row]:
        """The versions of a policy that are kept, the latest first."""
        query = select(policies).where(policies.c.name == name).order_by(policies.c.number.desc())
        with database_errors("read a policy's versions"), self._engine.connect() as connection:
            return [Row(*row) for row in connection.execute(query)]

    def put(self, name: str, policy: PolicyConfig, check: Check) -> Row:
        """Keep a policy as the next version of its name; one of equal options replaces the last.

        Raises:
            PolicyNameTaken: an adapter has the name.
        """
        options = policy.model_dump(mode="json", exclude_unset=True) | {"kind": policy.kind}
        with database_errors("keep a policy"), self._changing() as connection:
            if connection.scalar(select(adapters.c.name).where(adapters.c.name == name)):
                raise PolicyNameTaken(
                    f"there is an adapter {name!r}, and requests could not tell the two apart; "
                    "choose another name",
                    param="name",
                )
            now = _latest(connection, name)
            check(now)
            number = 1 if now is None else now.number + (now.version != policy.version)
            row = Row(name, number, policy.version, options, time.time())
            if now is not None and number == now.number:
                row = Row(name, number, policy.version, options, now.created)
                row_now = (policies.c.name == name, policies.c.number == number)
                connection.execute(update(policies).where(*row_now).values(options=options))
                return row
            key = {"name": name, "number": number, "version": policy.version}
            connection.execute(insert(policies).values(**key, options=options, created=row.created))
            gone = (policies.c.name == name, policies.c.number <= number - KEPT_VERSIONS)
            connection.execute(delete(policies).where(*gone))
            return row

    def remove(self, name: str, check: Check) -> None:
        """Drop a policy with all its versions."""
        with database_errors("remove a policy"), self._changing() as connection:
            check(_latest(connection, name))
            connection.execute(delete(policies).where(policies.c.name == name))

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        """One transaction; writers of adapters and of policies take turns."""
        with self._engine.begin() as connection:
            connection.execute(update(registry).values(revision=registry.c.revision + 1))
            yield connection


def _latest(connection: Connection, name: str) -> Row | None:
    query = select(policies).where(policies.c.name == name).order_by(policies.c.number.desc())
    found = connection.execute(query.limit(1)).first()
    return None if found is None else Row(*found)
