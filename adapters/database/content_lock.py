"""PostgreSQL's advisory lock between servers that store contents and servers that collect them.

It belongs to a connection, and goes with it: a server that dies holds nobody up.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from adapters.database.connection import database_errors

CONTENT_LOCK: Final = 0x6C6F7262


@contextmanager
def publishing(engine: Engine) -> Iterator[Connection]:
    """Share the lock; the connection that holds it is the one to write the record by."""
    with engine.connect() as connection:
        with database_errors("begin an adapter's record"):
            _call(connection, "pg_advisory_lock_shared")
        try:
            yield connection
        finally:
            _unlock(connection, "pg_advisory_unlock_shared")


@contextmanager
def collecting(engine: Engine) -> Iterator[bool]:
    """Hold the lock alone; False if somebody else has it now."""
    with engine.connect() as connection:
        with database_errors("collect contents"):
            alone = _call(connection, "pg_try_advisory_lock")
        try:
            yield alone
        finally:
            if alone:
                _unlock(connection, "pg_advisory_unlock")


def _call(connection: Connection, function: str) -> bool:
    """Call one of PostgreSQL's functions; False if that is what it answers."""
    answer = connection.execute(text(f"SELECT {function}(:key)"), {"key": CONTENT_LOCK}).scalar()
    connection.commit()
    return answer is not False


def _unlock(connection: Connection, function: str) -> None:
    try:
        _call(connection, function)
    except SQLAlchemyError:
        connection.invalidate()  # the session goes, and its locks with it
