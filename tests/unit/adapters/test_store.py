"""A process that dies while it stores an adapter leaves the old state or the new one."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters import AdapterRegistry, BaseModelShapes, Limits, read_base_model, validate
from adapters.store import LocalStore

CRASH = """
import os, sys
from pathlib import Path
from sqlalchemy import Engine, event
from adapters import AdapterRegistry, Limits, RoutingData, read_base_model

root, base, folder, crash_at = sys.argv[1:]
calls = 0

def dying(original):
    def call(*arguments, **named):
        global calls
        calls += 1
        if calls == int(crash_at):
            os._exit(9)
        return original(*arguments, **named)
    return call

registry = AdapterRegistry(Path(root), read_base_model(Path(base), "tiny-llama"), Limits())
for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
    event.listen(Engine, moment, dying(lambda *arguments: None))
for name in ("fsync", "rename", "replace"):
    setattr(os, name, dying(getattr(os, name)))
registry.add("sums", Path(folder))
print(calls)
"""


@pytest.fixture(scope="session")
def base_folder(tiny_config: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-llama")
    tiny_config.save_pretrained(folder)
    return folder


def test_killed_before_any_step_it_starts_again_clean(
    base_folder: Path, good_folder: Path, tmp_path: Path
) -> None:
    base = read_base_model(base_folder, "tiny-llama")
    steps = 0
    while True:
        root = tmp_path / str(steps)
        command = [sys.executable, "-c", CRASH, str(root), str(base_folder), str(good_folder)]
        run = subprocess.run(
            [*command, str(steps + 1)], capture_output=True, text=True, check=False
        )
        again = AdapterRegistry(root, base, Limits())
        assert again.problems == []
        assert list((root / "staging").iterdir()) == []
        assert all(again.store.is_intact(digest) for digest in again.store.digests())
        assert {adapter.digest for adapter in again.all()} <= set(again.store.digests())
        if run.returncode == 0:
            break
        assert run.returncode == 9, run.stderr
        adapter, _ = again.add("sums", good_folder)
        assert again.store.is_intact(adapter.digest)
        assert AdapterRegistry(root, base, Limits()).get("sums") == again.get("sums")
        steps += 1
    assert steps == int(run.stdout) >= 6


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
