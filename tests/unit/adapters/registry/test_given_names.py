"""Every name that was ever given keeps its number."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from adapters.adapter import RoutingData
from adapters.database.connection import MIGRATIONS, sqlite_url
from adapters.errors import AdapterExists
from adapters.registry.registry import AdapterRegistry
from adapters.registry.storage import Locations

EVERYWHERE = pytest.mark.parametrize("storage_kind", ["sqlite+local", "postgres+s3"])


@EVERYWHERE
def test_names_are_numbered_as_they_are_given_and_for_good(
    registry: AdapterRegistry,
    reopen: Callable[..., AdapterRegistry],
    good_folder: Path,
    other_folder: Path,
) -> None:
    assert registry.given_names == ()
    for name in ("b", "a", "c"):
        registry.add(name, good_folder)
    assert registry.given_names == ("b", "a", "c")
    registry.add("a", good_folder)
    registry.replace("a", other_folder)
    registry.restore("a", registry.versions("a")[-1].digest)
    registry.set_routing("a", RoutingData(description="sums"))
    with pytest.raises(AdapterExists):
        registry.add("c", other_folder)
    assert registry.given_names == ("b", "a", "c")
    registry.remove("a")
    assert registry.given_names == ("b", "a", "c")
    registry.add("d", good_folder)
    registry.add("a", other_folder)
    assert registry.given_names == ("b", "a", "c", "d", "a")
    registry.remove("a")
    assert reopen().given_names == ("b", "a", "c", "d", "a")
    reopen().add("e", good_folder)
    assert reopen().given_names == ("b", "a", "c", "d", "a", "e")


@EVERYWHERE
def test_another_server_gives_and_hears_of_numbers(
    registry: AdapterRegistry, reopen: Callable[..., AdapterRegistry], good_folder: Path
) -> None:
    other = reopen()
    registry.add("a", good_folder)
    other.refresh()
    other.add("b", good_folder)
    registry.add("c", good_folder)
    other.refresh()
    assert registry.given_names == other.given_names == ("a", "b", "c")


def test_names_of_an_older_database_are_numbered_in_their_order(
    registry: AdapterRegistry,
    reopen: Callable[..., AdapterRegistry],
    locations: Locations,
    good_folder: Path,
) -> None:
    for name in ("b", "a", "c"):
        registry.add(name, good_folder)
    registry.close()
    engine = sa.create_engine(sqlite_url(locations.root / "registry.db"))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0004")
        assert "given_names" not in sa.inspect(connection).get_table_names()
    engine.dispose()
    assert reopen().given_names == ("b", "a", "c")
