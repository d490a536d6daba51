"""A blob is kept once, never changes, and what is damaged from outside is mended."""

from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.limits import Limits
from adapters.store import LocalStore
from adapters.validation.base_model import BaseModelShapes
from adapters.validation.validate import validate


def test_the_same_content_is_kept_once_and_left_alone(
    good_folder: Path, base: BaseModelShapes, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path)
    facts = validate(good_folder, base, Limits())
    digest, is_new = store.put(good_folder, facts)
    inode = (store.path(digest) / "adapter_model.safetensors").stat().st_ino
    assert is_new
    assert store.put(good_folder, facts) == (digest, False)
    assert (store.path(digest) / "adapter_model.safetensors").stat().st_ino == inode


def test_damage_from_outside_is_noticed_and_mended(
    good_folder: Path, base: BaseModelShapes, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path)
    facts = validate(good_folder, base, Limits())
    digest, _ = store.put(good_folder, facts)
    weights = store.path(digest) / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(content)
    assert store.has(digest)
    assert not store.is_intact(digest)
    assert store.put(good_folder, facts) == (digest, True)
    assert store.is_intact(digest)


def test_staging_is_emptied_whatever_happens(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)

    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError), store.staging() as stage:
        fail(stage)
    assert list((tmp_path / "staging").iterdir()) == []
    (tmp_path / "staging" / "left over").mkdir()
    LocalStore(tmp_path)
    assert list((tmp_path / "staging").iterdir()) == []


def test_garbage_is_what_nobody_keeps(
    peft_adapter: Callable[..., tuple[Path, dict[str, float]]],
    base: BaseModelShapes,
    tmp_path: Path,
) -> None:
    store = LocalStore(tmp_path)
    folders = [peft_adapter(seed=seed)[0] for seed in range(3)]
    digests = [store.put(f, validate(f, base, Limits()))[0] for f in folders]
    assert store.digests() == sorted(digests)
    assert store.remove_all_except({digests[1]}) == sorted({digests[0], digests[2]})
    assert store.digests() == [digests[1]]
    store.remove("0" * 64)
