"""A name's versions: kept, gone back to, never overwritten by somebody who has not seen them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.adapter import RoutingData
from adapters.database.records import Record
from adapters.errors import AdapterExists, AdapterNotFound, VersionConflict, VersionNotFound
from adapters.limits import Limits
from adapters.registry.history import earlier
from adapters.registry.registry import AdapterRegistry

EVERYWHERE = pytest.mark.parametrize("storage_kind", ["sqlite+local", "postgres+s3"])
ROUTING = RoutingData(description="sums", centroids=((0.1, -1e-30, 3.0),), encoder="all-minilm")


@EVERYWHERE
def test_replacing_changes_content_and_keeps_routing(
    registry: AdapterRegistry,
    reopen: Callable[..., AdapterRegistry],
    good_folder: Path,
    other_folder: Path,
) -> None:
    old, _ = registry.add("sums", good_folder, ROUTING)
    new, is_other = registry.replace("sums", other_folder)
    assert is_other
    assert new.digest != old.digest
    assert (old.version, new.version) == (1, 2)
    assert new.routing == ROUTING
    assert registry.store.is_intact(old.digest)
    assert reopen().get("sums") == new
    with pytest.raises(AdapterNotFound):
        registry.replace("unknown", other_folder)


@EVERYWHERE
def test_versions_are_kept_and_can_be_gone_back_to(
    registry: AdapterRegistry,
    reopen: Callable[..., AdapterRegistry],
    good_folder: Path,
    other_folder: Path,
) -> None:
    first, _ = registry.add("sums", good_folder, ROUTING)
    second, _ = registry.replace("sums", other_folder)
    assert registry.replace("sums", other_folder) == (second, False)
    assert [v.digest for v in registry.versions("sums")] == [second.digest, first.digest]
    assert registry.version("sums", first.digest) == first
    assert registry.version("sums", first.digest[:8]) == first
    assert registry.version("sums", second.digest[:12]) == second
    for unknown in ("0" * 64, "", first.digest[:7], first.digest + "0", "%"):
        with pytest.raises(VersionNotFound):
            registry.version("sums", unknown)
        with pytest.raises(VersionNotFound):
            registry.restore("sums", unknown)
    back = registry.restore("sums", first.digest)
    assert (back.digest, back.version, back.routing) == (first.digest, 3, ROUTING)
    assert reopen().get("sums") == back == registry.get("sums")
    assert [v.number for v in reopen().versions("sums")] == [3, 2, 1]
    assert registry.collect_garbage() == []
    registry.remove("sums", keep_blob=False)
    assert registry.store.digests() == []


@EVERYWHERE
def test_a_change_made_meanwhile_is_not_overwritten(
    registry: AdapterRegistry, good_folder: Path, other_folder: Path
) -> None:
    first, _ = registry.add("sums", good_folder)
    second, _ = registry.replace("sums", other_folder, expected=first.digest)
    for change in (
        lambda: registry.replace("sums", good_folder, expected=first.digest),
        lambda: registry.restore("sums", first.digest, expected=first.digest),
    ):
        with pytest.raises(VersionConflict, match=second.digest):
            change()
    assert registry.get("sums") == second


@EVERYWHERE
def test_another_server_on_the_same_database_is_noticed(
    registry: AdapterRegistry,
    reopen: Callable[..., AdapterRegistry],
    good_folder: Path,
    other_folder: Path,
) -> None:
    registry.add("sums", good_folder)
    other = reopen()
    second, _ = other.replace("sums", other_folder)
    with pytest.raises(VersionConflict, match="changed meanwhile"):
        registry.set_routing("sums", ROUTING)
    with pytest.raises(VersionConflict, match="changed meanwhile"):
        registry.replace("sums", other_folder)
    assert reopen().get("sums") == second
    other.add("new", good_folder)
    with pytest.raises(AdapterExists):
        registry.add("new", other_folder)


@EVERYWHERE
def test_old_versions_go(
    reopen: Callable[..., AdapterRegistry],
    good_folder: Path,
    other_folder: Path,
    third_folder: Path,
) -> None:
    registry = reopen(limits=Limits(max_versions=2))
    registry.add("sums", good_folder)
    for folder in (other_folder, good_folder, other_folder):
        registry.replace("sums", folder)
    assert [version.number for version in registry.versions("sums")] == [4, 3]
    latest = registry.replace("sums", third_folder)[0]
    registry.replace("sums", other_folder)
    first = registry.get("sums")
    assert {version.digest for version in registry.versions("sums")} == {
        latest.digest,
        first.digest,
    }
    gone = set(registry.store.digests()) - {latest.digest, first.digest}
    assert len(gone) == 1
    assert registry.collect_garbage(gone) == []
    assert registry.collect_garbage() == sorted(gone)


@EVERYWHERE
def test_the_beginning_of_several_digests_names_none_of_them(
    registry: AdapterRegistry, good_folder: Path
) -> None:
    """Contents whose digests begin alike, as no two files will in our time."""
    now, _ = registry.add("sums", good_folder)
    rows, begins = registry._rows, "0123abcd" + "0" * 20
    for number, digest in enumerate((begins + "1" * 36, begins + "2" * 36), start=2):
        version = replace(now, version=number, digest=digest)
        rows.put(Record(version, "some base model"), number - 1, keep=16)
    rows.put(Record(replace(now, version=4), "some base model"), 3, keep=16)
    for ambiguous in (begins[:8], begins):
        with pytest.raises(VersionNotFound, match="several versions"):
            earlier(now, ambiguous, rows, registry.store)
    found = earlier(now, begins + "1", rows, registry.store)
    assert found.adapter.digest == begins + "1" * 36
    assert earlier(now, now.digest[:8], rows, registry.store).adapter.version == 4, "the latest"
