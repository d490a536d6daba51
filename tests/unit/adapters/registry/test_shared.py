"""Several servers, each with a data folder of its own, on one database and one object store."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.adapter import RoutingData
from adapters.errors import AdapterExists, AdapterNotFound, StorageFailed, VersionConflict
from adapters.limits import Limits
from adapters.registry.registry import AdapterRegistry
from adapters.registry.storage import Locations, Storage, open_storage
from adapters.validation.base_model import BaseModelShapes
from adapters.validation.validate import validate

pytestmark = pytest.mark.parametrize("storage_kind", ["postgres+s3"])


@pytest.fixture
def second(
    registry: AdapterRegistry,
    locations: Locations,
    open_registry: Callable[..., AdapterRegistry],
    tmp_path: Path,
) -> AdapterRegistry:
    """Another server, on the locations of ``registry``."""
    return open_registry(replace(locations, root=tmp_path / "second"))


def test_what_one_server_changes_the_other_takes_up(
    registry: AdapterRegistry, second: AdapterRegistry, good_folder: Path, other_folder: Path
) -> None:
    assert not second.refresh()
    sums, _ = registry.add("sums", good_folder)
    registry.add("twin", good_folder)
    seen = second.refresh()
    assert [one.name for one in seen.changed] == ["sums", "twin"]
    assert second.get("sums").digest == sums.digest
    with second.store.held(sums.digest) as folder:
        assert (folder / "adapter_model.safetensors").is_file()
    assert not second.refresh()

    registry.replace("sums", other_folder)
    registry.set_routing("twin", RoutingData(description="more sums"))
    seen = second.refresh()
    assert [(one.name, one.version) for one in seen.changed] == [("sums", 2), ("twin", 1)]
    assert second.get("twin").routing.description == "more sums"

    registry.remove("twin")
    seen = second.refresh()
    assert (seen.changed, seen.gone) == ((), ("twin",))
    with pytest.raises(AdapterNotFound):
        second.get("twin")
    assert not registry.refresh(), "its own changes are no news"
    registry.add("twin", other_folder)
    assert [one.name for one in second.refresh().changed] == ["twin"]
    assert [(a.name, a.digest) for a in second.all()] == [
        (a.name, a.digest) for a in registry.all()
    ]


def test_a_removal_that_one_server_begins_the_other_sees(
    registry: AdapterRegistry, second: AdapterRegistry, good_folder: Path
) -> None:
    registry.add("sums", good_folder)
    second.refresh()
    registry.begin_removal("sums")
    seen = second.refresh()
    assert [(one.name, one.removing) for one in seen.changed] == [("sums", True)]
    assert [one.name for one in second.being_removed()] == ["sums"]
    assert not second.refresh()
    registry.remove("sums")
    assert second.refresh().gone == ("sums",)
    assert second.being_removed() == []


def test_a_name_changed_by_the_other_server_is_a_conflict(
    registry: AdapterRegistry, second: AdapterRegistry, good_folder: Path, other_folder: Path
) -> None:
    first, _ = registry.add("sums", good_folder)
    with pytest.raises(AdapterExists):
        second.add("sums", other_folder)
    second.refresh()
    second.replace("sums", other_folder)
    for change in (
        lambda: registry.replace("sums", other_folder),
        lambda: registry.set_routing("sums", RoutingData(description="x")),
    ):
        with pytest.raises(VersionConflict, match="changed meanwhile"):
            change()
    registry.refresh()
    assert registry.restore("sums", first.digest).version == 3


def test_contents_that_the_other_server_needs_are_not_collected(
    registry: AdapterRegistry, second: AdapterRegistry, good_folder: Path, other_folder: Path
) -> None:
    kept, _ = registry.add("sums", good_folder)
    assert second.collect_garbage() == []
    gone, _ = second.add("other", other_folder)
    second.remove("other")
    assert registry.collect_garbage() == [gone.digest]
    assert registry.store.digests() == [kept.digest]


def test_a_content_is_safe_before_its_record_is_written(
    registry: AdapterRegistry,
    second: AdapterRegistry,
    base: BaseModelShapes,
    good_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other server collects at the very moment between the two."""
    collected: list[list[str]] = []
    put = registry.store.put

    def put_and_look(folder: Path, facts: object) -> tuple[str, bool]:
        result = put(folder, validate(folder, base, Limits()))
        collected.append(second.collect_garbage())
        return result

    monkeypatch.setattr(registry.store, "put", put_and_look)
    adapter, _ = registry.add("sums", good_folder)
    assert collected == [[]]
    assert second.store.is_intact(adapter.digest)
    registry.remove("sums")
    assert second.collect_garbage() == [adapter.digest]


def test_uploads_of_one_content_under_many_names_at_once(
    registry: AdapterRegistry, second: AdapterRegistry, good_folder: Path
) -> None:
    barrier = threading.Barrier(2)
    failures: list[Exception] = []

    def upload(server: AdapterRegistry, prefix: str) -> None:
        barrier.wait()
        try:
            for number in range(5):
                server.add(f"{prefix}-{number}", good_folder)
                server.collect_garbage()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must tell it
            failures.append(error)

    threads = [
        threading.Thread(target=upload, args=pair) for pair in ((registry, "a"), (second, "b"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    registry.refresh()
    second.refresh()
    assert len(registry.all()) == len(second.all()) == 10
    assert registry.store.is_intact(registry.all()[0].digest)


def test_a_store_belongs_to_one_registry(
    registry: AdapterRegistry,
    locations: Locations,
    base: BaseModelShapes,
    good_folder: Path,
    tmp_path: Path,
) -> None:
    registry.add("sums", good_folder)
    stranger = replace(locations, root=tmp_path / "stranger", database_url=None)
    storage: Storage = open_storage(stranger)
    with pytest.raises(StorageFailed, match="another registry"):
        AdapterRegistry(stranger.root, base, Limits(), storage=storage)
    storage.database.dispose()
    assert registry.store.digests() == [registry.get("sums").digest]


def test_a_database_that_breaks_while_a_content_is_stored_writes_no_record(
    registry: AdapterRegistry,
    second: AdapterRegistry,
    base: BaseModelShapes,
    good_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    postgres: object,
    locations: Locations,
) -> None:
    """The lock has gone with the connection, so the content may be collected."""
    put = registry.store.put

    def put_and_break(folder: Path, facts: object) -> tuple[str, bool]:
        result = put(folder, validate(folder, base, Limits()))
        with postgres.connect() as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [str(locations.database_url).rpartition("/")[2]],
            )
        return result

    monkeypatch.setattr(registry.store, "put", put_and_break)
    with pytest.raises(StorageFailed, match="terminat"):
        registry.add("sums", good_folder)
    monkeypatch.undo()
    assert len(second.collect_garbage()) == 1
    registry.add("sums", good_folder)
    assert [one.name for one in second.refresh().changed] == ["sums"]
