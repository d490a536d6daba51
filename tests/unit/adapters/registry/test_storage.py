"""The database behind the registry: its tables, and what happens where it refuses."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from adapters.database.connection import open_database, sqlite_url
from adapters.database.tables import metadata
from adapters.errors import StorageFailed
from adapters.registry.registry import AdapterRegistry
from adapters.registry.storage import Locations
from server.access import tables as access_tables
from server.policies import tables as policy_tables


def test_a_database_that_is_none_is_refused_in_one_line(
    reopen: Callable[..., AdapterRegistry], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "registry.db").write_bytes(b"no database at all" * 99)
    with pytest.raises(StorageFailed, match="could not open the database: file is not a") as caught:
        reopen()
    assert str(tmp_path) not in str(caught.value)


def test_tables_of_a_newer_version_are_refused(
    registry: AdapterRegistry, reopen: Callable[..., AdapterRegistry], tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "data" / "registry.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageFailed, match="newer version"):
        reopen()


@pytest.mark.parametrize("storage_kind", ["sqlite+local", "postgres+local"])
def test_the_migrations_make_the_tables_that_are_declared(
    registry: AdapterRegistry, locations: Locations
) -> None:
    for declared in (access_tables.metadata, policy_tables.metadata):
        assert declared is metadata, "every package's tables stand in one database"
    engine = open_database(locations.database_url or sqlite_url(locations.root / "registry.db"))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_a_database_that_refuses_changes_nothing(
    registry: AdapterRegistry,
    reopen: Callable[..., AdapterRegistry],
    good_folder: Path,
    other_folder: Path,
    tmp_path: Path,
) -> None:
    kept, _ = registry.add("sums", good_folder)
    with sqlite3.connect(tmp_path / "data" / "registry.db") as database:
        database.execute("DROP TABLE versions")
    with pytest.raises(StorageFailed, match="no such table") as caught:
        registry.replace("sums", other_folder)
    assert str(tmp_path) not in str(caught.value)
    assert "INSERT" not in str(caught.value)
    assert registry.get("sums") == kept
