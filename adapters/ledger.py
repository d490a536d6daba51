"""Names, versions and contents as rows; every change is one transaction."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    delete,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError

from adapters.adapter import RoutingData, Version
from adapters.database import database_errors
from adapters.errors import VersionConflict
from adapters.records import Record, content_row, routing_row
from adapters.tables import adapters, contents, versions

_WHOLE = (
    select(
        adapters.c.name,
        adapters.c.number,
        adapters.c.routing,
        versions.c.created,
        *contents.c,
    )
    .join_from(adapters, versions)
    .join(contents)
)


class Ledger:
    """The rows of one database. Writers of one process take turns outside; see the registry."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def rows(self) -> list[dict[str, Any]]:
        """Every name with its version now and that one's content, by name.

        Raises:
            StorageFailed: the database refused.
        """
        with database_errors("read the adapters' records"), self._engine.connect() as connection:
            found = connection.execute(_WHOLE.order_by(adapters.c.name)).mappings()
            return [dict(row) for row in found]

    def history(self, name: str) -> list[Version]:
        """The versions of a name, the latest first."""
        query = (
            select(versions.c.number, versions.c.digest, versions.c.created)
            .where(versions.c.name == name)
            .order_by(versions.c.number.desc())
        )
        with database_errors("read an adapter's versions"), self._engine.connect() as connection:
            return [Version(*row) for row in connection.execute(query)]

    def content(self, digest: str) -> dict[str, Any] | None:
        """The row of a content."""
        query = select(contents).where(contents.c.digest == digest)
        with database_errors("read an adapter's content"), self._engine.connect() as connection:
            found = connection.execute(query).mappings().first()
            return None if found is None else dict(found)

    def digests(self) -> set[str]:
        """Contents that some version stands for."""
        with database_errors("read the adapters' versions"), self._engine.connect() as connection:
            return set(connection.scalars(select(versions.c.digest).distinct()))

    def only_of(self, name: str) -> set[str]:
        """Contents that versions of this name stand for, and those of no other one."""
        others = select(versions.c.digest).where(versions.c.name != name)
        query = select(versions.c.digest).where(
            versions.c.name == name, versions.c.digest.not_in(others)
        )
        with database_errors("read an adapter's versions"), self._engine.connect() as connection:
            return set(connection.scalars(query))

    def put(self, record: Record, before: int | None, keep: int) -> None:
        """Give a name its next version, and drop versions beyond the latest ``keep``.

        Args:
            record: the adapter under its new number.
            before: the number that it must have now; None if the name must be free.
            keep: versions that stay.

        Raises:
            VersionConflict: it has another one by now.
            StorageFailed: the database refused.
        """
        adapter = record.adapter
        state = {"number": adapter.version, "routing": routing_row(adapter.routing)}
        with database_errors("write an adapter's record"):
            try:
                with self._engine.begin() as connection:
                    _put_content(connection, record)
                    connection.execute(
                        insert(versions).values(
                            name=adapter.name,
                            number=adapter.version,
                            digest=adapter.digest,
                            created=adapter.created,
                        )
                    )
                    if before is None:
                        connection.execute(insert(adapters).values(name=adapter.name, **state))
                    else:
                        _swap(connection, adapter.name, before, state)
                    gone = versions.c.number <= adapter.version - keep
                    _forget(connection, adapter.name, gone)
            except IntegrityError as error:
                raise _conflict(adapter.name) from error

    def set_routing(self, name: str, number: int, routing: RoutingData) -> None:
        """Replace the routing data of a name at this version. Errors as in :meth:`put`."""
        row = {"routing": routing_row(routing)}
        with database_errors("write an adapter's record"), self._engine.begin() as connection:
            _swap(connection, name, number, row)

    def renew(self, record: Record) -> None:
        """Write down anew what a content is and what it was validated against."""
        with database_errors("write an adapter's record"), self._engine.begin() as connection:
            _put_content(connection, record)

    def remove(self, name: str) -> None:
        """Drop a name and all its versions."""
        with (
            database_errors("remove an adapter's record"),
            self._engine.begin() as connection,
        ):
            connection.execute(delete(adapters).where(adapters.c.name == name))
            _forget(connection, name, true())


def _forget(connection: Connection, name: str, gone: ColumnElement[bool]) -> None:
    """Drop versions of a name, and the contents that no version stands for any more."""
    dropped = connection.execute(delete(versions).where(versions.c.name == name, gone))
    if dropped.rowcount:
        used = select(versions.c.digest)
        connection.execute(delete(contents).where(contents.c.digest.not_in(used)))


def _put_content(connection: Connection, record: Record) -> None:
    row = content_row(record)
    known = connection.execute(
        update(contents).where(contents.c.digest == row["digest"]).values(**row)
    )
    if not known.rowcount:
        connection.execute(insert(contents).values(**row))


def _swap(connection: Connection, name: str, before: int, row: Mapping[str, Any]) -> None:
    """Change a name's row if its version is still the one that the caller has seen."""
    changed = connection.execute(
        update(adapters).where(adapters.c.name == name, adapters.c.number == before).values(**row)
    )
    if changed.rowcount != 1:
        raise _conflict(name)


def _conflict(name: str) -> VersionConflict:
    return VersionConflict(
        f"adapter {name!r} has been changed meanwhile; look at it again, then repeat the change"
    )
