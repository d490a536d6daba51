"""Contents in a real S3: whole or not there; copies here are bounded, and held while in use."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import MissingFile, StorageFailed
from adapters.limits import Limits
from adapters.registry.registry import AdapterRegistry
from adapters.registry.storage import Locations, open_storage
from adapters.store import AdapterStore
from adapters.store.s3 import RemoteStore
from adapters.validation.base_model import BaseModelShapes
from adapters.validation.validate import validate

pytestmark = pytest.mark.parametrize("storage_kind", ["sqlite+s3"])
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def digests(
    locations: Locations,
    base: BaseModelShapes,
    good_folder: Path,
    other_folder: Path,
    third_folder: Path,
) -> list[str]:
    """Three contents, put by another machine."""
    store = open_storage(replace(locations, root=locations.root.parent / "elsewhere")).store
    folders = (good_folder, other_folder, third_folder)
    return [store.put(folder, validate(folder, base, Limits()))[0] for folder in folders]


@pytest.fixture
def bucket(locations: Locations, s3: Any) -> Any:
    """The objects, by their names under the prefix."""

    class Objects:
        files = s3.files()
        prefix = str(locations.store_url).removeprefix("s3://")

        def names(self) -> list[str]:
            return [path.removeprefix(f"{self.prefix}/") for path in self.files.find(self.prefix)]

        def remove(self, name: str) -> None:
            self.files.rm_file(f"{self.prefix}/{name}")

        def write(self, name: str, content: bytes) -> None:
            self.files.pipe_file(f"{self.prefix}/{name}", content)

    return Objects()


def opened(locations: Locations, **options: Any) -> AdapterStore:
    return open_storage(replace(locations, **options)).store


def test_a_content_is_there_once_its_manifest_is(
    locations: Locations, digests: list[str], bucket: Any
) -> None:
    store = opened(locations)
    digest = digests[0]
    assert sorted(digests) == store.digests()
    assert f"blobs/{digest}/manifest.json" in bucket.names()
    assert store.size_bytes(digest) == store.sizes()[digest] > 0
    assert store.is_intact(digest)
    bucket.remove(f"blobs/{digest}/manifest.json")
    assert not store.has(digest)
    assert not store.is_intact(digest)
    assert store.size_bytes(digest) is None
    assert digest not in store.digests()
    with pytest.raises(MissingFile, match="upload it again"), store.held(digest):
        pass
    store.remove_all_except(digests[1:])
    assert not any(digest in name for name in bucket.names())
    store.remove("0" * 64)


def test_what_was_damaged_on_the_way_or_there_is_not_used(
    locations: Locations, digests: list[str], bucket: Any, good_folder: Path, base: BaseModelShapes
) -> None:
    digest = digests[0]
    bucket.write(f"blobs/{digest}/{WEIGHTS}", b"something else")
    store = opened(locations)
    assert store.has(digest)
    assert not store.is_intact(digest)
    with pytest.raises(MissingFile, match="is damaged"), store.held(digest):
        pass
    assert not store.path(digest).exists()
    assert list((locations.root / "staging").iterdir()) == []
    assert store.put(good_folder, validate(good_folder, base, Limits()))[0] == digest
    assert store.is_intact(digest)


def test_copies_are_bounded_and_the_least_recently_used_goes_first(
    locations: Locations, digests: list[str]
) -> None:
    a, b, c = digests
    sizes = opened(locations).sizes()
    store = opened(locations, cache_bytes=sum(sizes.values()) - 1)

    def copies() -> set[str]:
        return {entry.name for entry in (locations.root / "cache").iterdir()}

    for digest in (a, b):
        with store.held(digest) as folder:
            assert sorted(p.name for p in folder.iterdir()) == ["adapter_config.json", WEIGHTS]
    with store.held(a):
        pass
    assert copies() == {a, b}
    with store.held(c):
        pass
    assert copies() == {a, c}

    again = opened(locations, cache_bytes=sizes[c])
    with again.held(a) as held, again.held(b):
        assert held.is_dir(), "who uses a copy keeps it, whatever the bound"
        assert copies() == {a, b}
    assert len(copies()) == 1
    nothing = opened(locations, cache_bytes=0)
    with nothing.held(a) as folder:
        assert (folder / WEIGHTS).is_file()
    assert copies() == set()


def test_a_copy_that_was_damaged_here_is_fetched_again(
    locations: Locations, digests: list[str]
) -> None:
    digest = digests[0]
    with opened(locations).held(digest) as folder:
        weights = folder / WEIGHTS
        good = weights.read_bytes()
    weights.chmod(0o644)
    weights.write_bytes(b"\0" * len(good))
    with opened(locations).held(digest) as folder:
        assert (folder / WEIGHTS).read_bytes() == good


def test_many_threads_fetch_a_content_once(
    locations: Locations, digests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(locations)
    fetched: list[str] = []
    download = RemoteStore._download

    def counted(self: RemoteStore, digest: str, stage: Path) -> None:
        fetched.append(digest)
        download(self, digest, stage)

    monkeypatch.setattr(RemoteStore, "_download", counted)
    barrier = threading.Barrier(6)
    seen: list[bytes] = []

    def use(digest: str) -> None:
        barrier.wait()
        with store.held(digest) as folder:
            seen.append((folder / WEIGHTS).read_bytes())

    threads = [threading.Thread(target=use, args=(d,)) for d in digests[:2] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 6
    assert sorted(fetched) == sorted(digests[:2])


def test_refusals_of_the_object_store_are_told_in_one_line_without_secrets(
    locations: Locations, s3: Any, good_folder: Path, open_registry: Callable[..., AdapterRegistry]
) -> None:
    missing = replace(locations, store_url="s3://there-is-no-such-bucket/prefix")
    with pytest.raises(StorageFailed, match="bucket"):
        open_registry(missing)
    options = {**s3.options, "endpoint_url": "http://127.0.0.1:1"}
    with pytest.raises(StorageFailed, match="could not open the adapter store") as caught:
        open_registry(replace(locations, store_options=options))
    assert s3.options["secret"] not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


def test_an_object_store_that_fails_while_serving_changes_nothing(
    registry: AdapterRegistry,
    good_folder: Path,
    other_folder: Path,
    bucket: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept, _ = registry.add("sums", good_folder)
    store = registry.store
    assert isinstance(store, RemoteStore)
    monkeypatch.setattr(store, "_blobs", "there-is-no-such-bucket/blobs")
    with pytest.raises(StorageFailed, match="bucket does not exist"):
        registry.replace("sums", other_folder)
    monkeypatch.undo()
    assert registry.get("sums") == kept
    assert store.digests() == [kept.digest]
