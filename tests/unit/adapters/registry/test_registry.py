"""Names survive restarts, and nothing on disk can make the registry fall over."""

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.adapter import RoutingData
from adapters.errors import (
    AdapterExists,
    AdapterNotFound,
    InvalidName,
    InvalidRouting,
    StorageFailed,
)
from adapters.limits import Limits
from adapters.registry.registry import AdapterRegistry
from adapters.validation.base_model import BaseModelShapes

MakeAdapter = Callable[..., tuple[Path, dict[str, float]]]

EVERYWHERE = pytest.mark.parametrize("storage_kind", ["sqlite+local", "postgres+s3"])
ROUTING = RoutingData(
    examples=("what is 2 + 2?", "größer als ½"),
    description="sums",
    centroids=((0.1, -1e-30, 3.0), (1.0, 0.0, 0.0)),
    encoder="all-minilm",
)


@EVERYWHERE
def test_adding_is_idempotent_and_never_overwrites(
    registry: AdapterRegistry, good_folder: Path, other_folder: Path
) -> None:
    adapter, is_new = registry.add("sums", good_folder, ROUTING)
    assert is_new
    assert registry.add("sums", good_folder) == (adapter, False)
    digests = registry.store.digests()
    with pytest.raises(AdapterExists, match="other content"):
        registry.add("sums", other_folder)
    assert registry.get("sums") == adapter
    assert registry.store.digests() == digests


def test_an_adapter_tells_what_it_is(registry: AdapterRegistry, good_folder: Path) -> None:
    adapter, _ = registry.add("sums", good_folder, ROUTING)
    assert adapter.path.is_absolute()
    assert sorted(p.name for p in adapter.path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert adapter.path.name == adapter.digest
    assert (adapter.rank, adapter.ranks, adapter.lora_alpha) == (8, (8,), 16.0)
    assert adapter.target_modules == ("self_attn.q_proj", "self_attn.v_proj")
    assert adapter.parameters == 2 * 8 * ((64 + 64) + (64 + 32))
    assert adapter.size_bytes == sum(p.stat().st_size for p in adapter.path.iterdir())
    assert adapter.routing == ROUTING
    assert all(not p.stat().st_mode & 0o222 for p in adapter.path.iterdir())


@EVERYWHERE
def test_everything_is_there_after_a_restart(
    registry: AdapterRegistry,
    reopen: Callable[..., AdapterRegistry],
    good_folder: Path,
    other_folder: Path,
) -> None:
    registry.add("sums", good_folder, ROUTING)
    registry.add("other", other_folder)
    registry.add("twin", good_folder)
    registry.set_routing("other", RoutingData(description="something else"))
    registry.remove("twin")
    again = reopen()
    assert again.all() == registry.all()
    assert [adapter.name for adapter in again.all()] == ["other", "sums"]
    assert again.problems == []


def test_names_that_mean_something_else_are_refused(
    registry: AdapterRegistry, good_folder: Path
) -> None:
    for name in ("auto", "tiny-llama", "base", "../x"):
        with pytest.raises(InvalidName):
            registry.add(name, good_folder)
    assert registry.all() == []
    assert registry.store.digests() == []


def test_looking_up(registry: AdapterRegistry, good_folder: Path) -> None:
    adapter, _ = registry.add("b", good_folder)
    registry.add("a", good_folder)
    assert [(one.name, one.digest) for one in registry.all()] == [
        ("a", adapter.digest),
        ("b", adapter.digest),
    ]
    with pytest.raises(AdapterNotFound):
        registry.get("c")
    with pytest.raises(AdapterNotFound):
        registry.set_routing("c", ROUTING)
    with pytest.raises(AdapterNotFound):
        registry.remove("c")


def test_content_outlives_its_name_until_collected(
    registry: AdapterRegistry, good_folder: Path, other_folder: Path
) -> None:
    registry.add("a", good_folder)
    registry.add("b", good_folder)
    other, _ = registry.add("other", other_folder)
    removed = registry.remove("a", keep_blob=False)
    assert removed.path.is_dir()
    registry.remove("b")
    assert removed.path.is_dir()
    assert registry.collect_garbage() == [removed.digest]
    assert not removed.path.exists()
    assert registry.collect_garbage() == []
    registry.remove("other", keep_blob=False)
    assert not other.path.exists()


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("adapters", "routing", "null"),
        ("adapters", "routing", "[]"),
        ("adapters", "routing", '{"examples": []}'),
        ("contents", "ranks", "null"),
        ("contents", "ranks", '["eight"]'),
        ("contents", "target_modules", "7"),
    ],
)
def test_a_damaged_record_is_reported_and_skipped(
    table: str,
    column: str,
    value: str,
    registry: AdapterRegistry,
    reopen: Callable[..., AdapterRegistry],
    good_folder: Path,
    other_folder: Path,
    tmp_path: Path,
) -> None:
    kept, _ = registry.add("kept", other_folder)
    registry.add("sums", good_folder)
    where = "name = 'sums'" if table == "adapters" else f"digest != '{kept.digest}'"
    with sqlite3.connect(tmp_path / "data" / "registry.db") as database:
        database.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value,))
    again = reopen()
    assert again.all() == [kept]
    assert [problem.name for problem in again.problems] == ["sums"]
    assert str(tmp_path) not in again.problems[0].reason
    assert again.collect_garbage() == []
    again.add("sums", good_folder)
    assert again.problems == []
    assert reopen().problems == []


def test_missing_content_is_reported_and_mended_by_the_same_upload(
    registry: AdapterRegistry,
    reopen: Callable[..., AdapterRegistry],
    good_folder: Path,
    other_folder: Path,
) -> None:
    adapter, _ = registry.add("sums", good_folder, ROUTING)
    weights = adapter.path / "adapter_model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1])
    again = reopen()
    assert again.all() == []
    assert "upload it again" in again.problems[0].reason
    with pytest.raises(AdapterExists, match="could not be loaded"):
        again.add("sums", other_folder)
    mended, is_new = again.add("sums", good_folder)
    assert is_new
    assert again.store.is_intact(mended.digest)
    assert mended.digest == adapter.digest
    assert reopen().problems == []


@EVERYWHERE
def test_another_base_model_sets_adapters_aside_without_losing_them(
    registry: AdapterRegistry,
    reopen: Callable[..., AdapterRegistry],
    base: BaseModelShapes,
    good_folder: Path,
) -> None:
    adapter, _ = registry.add("sums", good_folder)
    small = reopen(replace(base, name="one-layer", num_layers=1))
    assert small.all() == []
    assert "layer" in small.problems[0].reason
    assert small.collect_garbage() == []
    assert reopen().all() == [adapter]
    assert reopen(limits=Limits(max_lora_rank=4)).problems[0].name == "sums"
    narrow = reopen(limits=Limits(max_lora_rank=4))
    assert narrow.remove("sums") == adapter
    assert narrow.problems == []
    assert reopen().all() == []


@pytest.mark.parametrize(
    "routing",
    [
        RoutingData(examples=("",)),
        RoutingData(examples=("  \n",)),
        RoutingData(examples=("x",) * 10_001),
        RoutingData(examples=("\ud800",)),
        RoutingData(description="x" * 20_001),
        RoutingData(centroids=((),)),
        RoutingData(centroids=((0.0, 0.0),)),
        RoutingData(centroids=((1.0, 2.0), (1.0, float("nan")))),
        RoutingData(centroids=((float("inf"),),)),
        RoutingData(centroids=((1.0,) * 20_000,)),
        RoutingData(centroids=((1.0,),) * 65),
    ],
    ids=[
        "empty example",
        "blank example",
        "too many examples",
        "half a character",
        "long description",
        "no numbers",
        "all zero",
        "NaN",
        "infinite",
        "too many numbers",
        "too many centroids",
    ],
)
def test_routing_data_that_the_router_could_not_use(
    routing: RoutingData, registry: AdapterRegistry, good_folder: Path
) -> None:
    with pytest.raises(InvalidRouting):
        registry.add("sums", good_folder, routing)
    assert registry.all() == []
    registry.add("sums", good_folder, ROUTING)
    with pytest.raises(InvalidRouting):
        registry.set_routing("sums", routing)
    assert registry.get("sums").routing == ROUTING


@EVERYWHERE
def test_many_threads_agree_on_one_winner(
    registry: AdapterRegistry, good_folder: Path, other_folder: Path
) -> None:
    outcomes: list[str] = []
    barrier = threading.Barrier(6)

    def upload(folder: Path) -> None:
        barrier.wait()
        try:
            outcomes.append("new" if registry.add("sums", folder)[1] else "same")
        except AdapterExists:
            outcomes.append("taken")

    threads = [
        threading.Thread(target=upload, args=(folder,))
        for folder in (good_folder, other_folder) * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["new", "same", "same", "taken", "taken", "taken"]
    assert registry.store.digests() == [registry.get("sums").digest]


def test_a_full_disk_is_told_without_a_path_and_changes_nothing(
    registry: AdapterRegistry, good_folder: Path, other_folder: Path, tmp_path: Path
) -> None:
    kept, _ = registry.add("sums", good_folder)
    (tmp_path / "data" / "staging").rename(tmp_path / "away")
    with pytest.raises(StorageFailed, match="No such file") as caught:
        registry.replace("sums", other_folder)
    assert str(tmp_path) not in str(caught.value)
    assert registry.get("sums") == kept


@EVERYWHERE
def test_a_removal_that_has_begun_is_kept(
    registry: AdapterRegistry,
    reopen: Callable[..., AdapterRegistry],
    base: BaseModelShapes,
    good_folder: Path,
    other_folder: Path,
) -> None:
    adapter, _ = registry.add("sums", good_folder)
    other, _ = registry.add("other", other_folder)
    assert registry.being_removed() == []
    going = registry.begin_removal("sums")
    assert going == replace(adapter, removing=True) == registry.get("sums")
    assert registry.begin_removal("sums") == going
    assert registry.being_removed() == [going]
    again = reopen()
    assert again.all() == [other, going]
    small = reopen(replace(base, name="one-layer", num_layers=1))
    assert small.being_removed() == [going], "also where it cannot be served"
    small.remove("sums")
    assert small.being_removed() == []
    fresh, created = reopen().add("sums", good_folder)
    assert (created, fresh.removing) == (True, False)
    with pytest.raises(AdapterNotFound):
        registry.begin_removal("nobody")
