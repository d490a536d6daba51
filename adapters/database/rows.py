"""Names, versions and contents as rows; every change is one transaction.

Every change raises the registry's revision first, so that writers of all servers take turns, and
marks the name with it: what changed since a revision can be asked for. Where servers share a
database, a content is *published* under a shared lock, from before it is stored until its record is
written, and contents are collected under the same lock held alone. So nobody takes away what
another is just about to name.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    delete,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError

from adapters.adapter import RoutingData, Version
from adapters.database.connection import database_errors
from adapters.database.content_lock import collecting, publishing
from adapters.database.records import Record, content_row, routing_row
from adapters.database.tables import adapters, contents, given_names, registry, versions
from adapters.errors import VersionConflict

_WHOLE = (
    select(
        adapters.c.name,
        adapters.c.number,
        adapters.c.routing,
        adapters.c.removing,
        versions.c.created,
        versions.c.warnings,
        *contents.c,
    )
    .join_from(adapters, versions)
    .join(contents)
)


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed since a revision.

    Attributes:
        revision: the one to ask from next time.
        rows: names that were added or changed, as :meth:`AdapterRows.current` gives them.
        names: all names there are; None if nothing has changed.
    """

    revision: int
    rows: tuple[dict[str, Any], ...] = ()
    names: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version as the tables have it.

    Attributes:
        name: of the adapter.
        number: among the versions of the name.
        digest: of the content.
        size_bytes: of the content; None if it has no record.
    """

    name: str
    number: int
    digest: str
    size_bytes: int | None


class AdapterRows:
    """The rows of one database. Writers of one process take turns outside; see the registry.

    Attributes:
        key: which registry this is; stores of contents are bound to it.
        is_shared: whether several servers may use the database at once.

    Raises:
        StorageFailed: the database refused.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.is_shared = engine.dialect.name == "postgresql"
        self._publishing: Connection | None = None
        with database_errors("open the database"), engine.connect() as connection:
            self.key: str = connection.execute(select(registry.c.key)).scalar_one()

    def close(self) -> None:
        """Close the connections; further use opens new ones."""
        self._engine.dispose()

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Keep collectors off from before a content is stored until its record is written.

        Should the connection break meanwhile, and the lock with it, the record is not written.
        """
        if not self.is_shared or self._publishing is not None:
            yield
            return
        with publishing(self._engine) as self._publishing:
            try:
                yield
            finally:
                self._publishing = None

    @contextmanager
    def collecting(self) -> Iterator[bool]:
        """Keep publishers off while contents are collected; False where one is at work now."""
        if not self.is_shared:
            yield True
            return
        with collecting(self._engine) as alone:
            yield alone

    def current(self) -> list[dict[str, Any]]:
        """Every name with its version now and that one's content, by name.

        Raises:
            StorageFailed: the database refused.
        """
        return list(self.changes(-1).rows)

    def changes(self, since: int) -> Changes:
        """What has changed since a revision; one cheap query if nothing has.

        Raises:
            StorageFailed: the database refused.
        """
        query = _WHOLE.where(adapters.c.changed > since).order_by(adapters.c.name)
        with database_errors("read the adapters' records"), self._engine.connect() as connection:
            # The revision first: what is committed after it comes again the next time.
            revision: int = connection.execute(select(registry.c.revision)).scalar_one()
            if revision == since:
                return Changes(since)
            rows = tuple(dict(row) for row in connection.execute(query).mappings())
            return Changes(revision, rows, frozenset(connection.scalars(select(adapters.c.name))))

    def history(self, name: str) -> list[Version]:
        """The versions of a name, the latest first."""
        query = (
            select(versions.c.number, versions.c.digest, versions.c.created, versions.c.warnings)
            .where(versions.c.name == name)
            .order_by(versions.c.number.desc())
        )
        with database_errors("read an adapter's versions"), self._engine.connect() as connection:
            found = connection.execute(query)
            return [
                Version(number, digest, created, tuple(warnings))
                for number, digest, created, warnings in found
            ]

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

    def inventory(self) -> list[VersionRow]:
        """Every version of every name, also those that no record of a content belongs to."""
        joined = versions.outerjoin(contents, versions.c.digest == contents.c.digest)
        query = select(
            versions.c.name, versions.c.number, versions.c.digest, contents.c.size_bytes
        ).select_from(joined)
        with database_errors("read the adapters' versions"), self._engine.connect() as connection:
            found = connection.execute(query.order_by(versions.c.name, versions.c.number))
            return [VersionRow(*row) for row in found]

    def names(self) -> list[tuple[str, int]]:
        """Every name with the number of its version now, also without such a version."""
        query = select(adapters.c.name, adapters.c.number).order_by(adapters.c.name)
        with database_errors("read the adapters' records"), self._engine.connect() as connection:
            return [(name, number) for name, number in connection.execute(query)]

    def given_names(self, since: int) -> list[str]:
        """Names that adapters were given, in the order of their numbers, from one number on.

        A name that was given again, after it was taken away, has a number for each time.
        """
        query = select(given_names.c.name).where(given_names.c.number >= since)
        with database_errors("read the adapters' names"), self._engine.connect() as connection:
            return list(connection.scalars(query.order_by(given_names.c.number)))

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
                with self._changing() as (connection, revision):
                    state["changed"] = revision
                    _put_content(connection, record)
                    connection.execute(
                        insert(versions).values(
                            name=adapter.name,
                            number=adapter.version,
                            digest=adapter.digest,
                            created=adapter.created,
                            warnings=list(adapter.warnings),
                        )
                    )
                    if before is None:
                        connection.execute(insert(adapters).values(name=adapter.name, **state))
                        _number(connection, adapter.name)
                    else:
                        _swap(connection, adapter.name, before, state)
                    gone = versions.c.number <= adapter.version - keep
                    _forget(connection, adapter.name, gone)
            except IntegrityError as error:
                raise _conflict(adapter.name) from error

    def set_routing(self, name: str, number: int, routing: RoutingData) -> None:
        """Replace the routing data of a name at this version.

        Raises:
            VersionConflict: it has another one by now.
            StorageFailed: the database refused.
        """
        row = {"routing": routing_row(routing)}
        with (
            database_errors("write an adapter's record"),
            self._changing() as (connection, revision),
        ):
            _swap(connection, name, number, {**row, "changed": revision})

    def set_removing(self, name: str) -> None:
        """Mark a name as one that is being removed; nothing takes the mark away again.

        Raises:
            StorageFailed: the database refused.
        """
        with (
            database_errors("write an adapter's record"),
            self._changing() as (connection, revision),
        ):
            row = {"removing": True, "changed": revision}
            connection.execute(update(adapters).where(adapters.c.name == name).values(**row))

    def renew(self, record: Record) -> None:
        """Write down anew what a content is, what it was validated against and what was noticed."""
        adapter = record.adapter
        with database_errors("write an adapter's record"), self._changing() as (connection, _):
            _put_content(connection, record)
            connection.execute(
                update(versions)
                .where(versions.c.name == adapter.name, versions.c.number == adapter.version)
                .values(warnings=list(adapter.warnings))
            )

    def remove(self, name: str) -> None:
        """Drop a name and all its versions."""
        with (
            database_errors("remove an adapter's record"),
            self._changing() as (connection, _),
        ):
            connection.execute(delete(adapters).where(adapters.c.name == name))
            _forget(connection, name, true())

    @contextmanager
    def _changing(self) -> Iterator[tuple[Connection, int]]:
        """One transaction, and the revision that it makes."""
        with ExitStack() as stack:
            if self._publishing is None:
                connection = stack.enter_context(self._engine.begin())
            else:
                connection = self._publishing
                stack.enter_context(connection.begin())
            connection.execute(update(registry).values(revision=registry.c.revision + 1))
            yield connection, connection.execute(select(registry.c.revision)).scalar_one()


def _number(connection: Connection, name: str) -> None:
    """Give a name the next number; writers take turns, and no number is given up."""
    following = select(func.coalesce(func.max(given_names.c.number) + 1, 0)).scalar_subquery()
    connection.execute(insert(given_names).values(number=following, name=name))


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
