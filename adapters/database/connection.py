"""The database that names and versions are kept in: SQLite by default, PostgreSQL by URL.

Tables are declared in ``adapters.database.tables`` and made by the migrations beside it,
which every start brings up to date.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from adapters.errors import StorageFailed
from adapters.files import disk_full

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_KEY = 0x6C6F7261
"""PostgreSQL's advisory lock for the migrations: one server at a time makes tables."""

_BUSY_MS = 30_000
_CONNECT_S = 10
_POSTGRES_DISK_FULL = "53100"
_BACKENDS = ("postgresql", "sqlite")


def sqlite_url(file: Path) -> str:
    """The URL of a database in a file."""
    return f"sqlite:///{file}"


def open_database(url: str) -> Engine:
    """Open a database, make its tables or bring them up to date.

    Args:
        url: as SQLAlchemy takes it: ``sqlite:///FILE``, ``postgresql+psycopg://USER:KEY@HOST/NAME``.

    Raises:
        StorageFailed: there is no such database, it refuses, or a newer version made its tables.
    """
    check_database_url(url)
    with database_errors("open the database"):
        if make_url(url).get_backend_name() == "sqlite":
            engine = create_engine(url)
            event.listen(engine, "connect", _prepare_sqlite)
        else:
            # No statement waits for ever for what another server holds.
            waits = {"connect_timeout": _CONNECT_S, "options": f"-c lock_timeout={_BUSY_MS}"}
            engine = create_engine(url, pool_pre_ping=True, connect_args=waits)
        _upgrade(engine)
    return engine


def check_database_url(url: str) -> None:
    """Let a URL through whose database is one of those that are supported.

    Raises:
        StorageFailed: it is not; the message does not repeat it, since it may hold a password.
    """
    try:
        made = make_url(url)
        known = made.get_backend_name() in _BACKENDS and made.drivername.partition("+")[2] in (
            "",
            "psycopg",
            "pysqlite",
        )
    except (ArgumentError, ValueError):
        known = False
    if not known:
        raise StorageFailed(
            "the database's URL is not understood; it must be like "
            "postgresql+psycopg://USER:PASSWORD@HOST/NAME or sqlite:////FOLDER/FILE"
        )


@contextmanager
def database_errors(doing: str) -> Iterator[None]:
    """Turn the database's refusals into ours: what failed and why, without URL or statement.

    Raises:
        StorageFull: its disk has no room left.
        StorageFailed: it refused otherwise.
    """
    try:
        yield
    except DBAPIError as error:
        if _is_full(error.orig):
            raise disk_full(doing) from error
        reason = str(error.orig).strip().splitlines() or [type(error).__name__]
        raise StorageFailed(f"could not {doing}: {reason[0]}") from error
    except ArgumentError as error:
        raise StorageFailed(f"could not {doing}: its URL is not understood") from error
    except SQLAlchemyError as error:
        raise StorageFailed(f"could not {doing}: {type(error).__name__}") from error


def _is_full(error: BaseException | None) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code == sqlite3.SQLITE_FULL or getattr(error, "sqlstate", None) == _POSTGRES_DISK_FULL


def _prepare_sqlite(connection: sqlite3.Connection, record: Any) -> None:  # noqa: ANN401
    """Commits survive a power cut, readers do not wait for writers, references are checked."""
    del record
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"busy_timeout = {_BUSY_MS}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _upgrade(engine: Engine) -> None:
    # It tells of every plugin that it finds, already while it is imported.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK_KEY})")
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StorageFailed(
                "could not open the database: its tables were made by a newer version, or are not "
                "this program's"
            ) from error
