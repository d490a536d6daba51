"""What was noticed about an upload stays with the version that it made."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from safetensors.torch import load_file, save_file
from sqlalchemy import create_engine

from adapters.database.connection import MIGRATIONS
from adapters.registry.registry import AdapterRegistry
from adapters.registry.storage import Locations

WEIGHTS = "adapter_model.safetensors"
EVERYWHERE = pytest.mark.parametrize("storage_kind", ["sqlite+local", "postgres+s3"])


@pytest.fixture
def idle_folder(good_folder: Path, tmp_path: Path) -> Path:
    """An adapter that changes nothing, trained on a quantised copy."""
    folder = shutil.copytree(good_folder, tmp_path / "idle")
    tensors = load_file(folder / WEIGHTS)
    save_file({n: t * 0 if "lora_B" in n else t for n, t in tensors.items()}, folder / WEIGHTS)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "unsloth/tiny-llama-bnb-4bit"
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@EVERYWHERE
def test_warnings_are_kept_over_restarts_with_their_version(
    registry: AdapterRegistry,
    reopen: Callable[..., AdapterRegistry],
    idle_folder: Path,
    other_folder: Path,
) -> None:
    idle, _ = registry.add("mine", idle_folder)
    copy, zeros = idle.warnings
    assert "unsloth/tiny-llama-bnb-4bit" in copy
    assert "changes nothing" in zeros
    assert reopen().get("mine") == idle
    better, _ = registry.replace("mine", other_folder)
    assert better.warnings == ()
    assert registry.version("mine", idle.digest).warnings == idle.warnings
    assert [one.warnings for one in reopen().versions("mine")] == [(), idle.warnings]
    back = registry.restore("mine", idle.digest)
    assert back.warnings == idle.warnings
    assert reopen().get("mine") == back


@EVERYWHERE
def test_another_name_of_the_same_content_has_warnings_of_its_own(
    registry: AdapterRegistry,
    reopen: Callable[..., AdapterRegistry],
    good_folder: Path,
    tmp_path: Path,
) -> None:
    switched = shutil.copytree(good_folder, tmp_path / "switched")
    config = json.loads((switched / "adapter_config.json").read_text())
    (switched / "adapter_config.json").write_text(json.dumps(config | {"bias": "all"}))
    plain, _ = registry.add("plain", good_folder)
    other, _ = registry.add("other", switched)
    assert plain.digest == other.digest
    assert [reopen().get(name).warnings for name in ("plain", "other")] == [(), other.warnings]
    assert other.warnings


def test_a_version_that_is_taken_up_again_has_the_warnings_of_now(
    registry: AdapterRegistry,
    reopen: Callable[..., AdapterRegistry],
    idle_folder: Path,
    good_folder: Path,
    tmp_path: Path,
) -> None:
    switched = shutil.copytree(good_folder, tmp_path / "switched")
    config = json.loads((switched / "adapter_config.json").read_text())
    plain, _ = registry.add("mine", good_folder)
    shutil.rmtree(plain.path)
    (switched / "adapter_config.json").write_text(json.dumps(config | {"bias": "all"}))
    again = reopen()
    renewed, _ = again.add("mine", switched)
    assert renewed.version == plain.version
    assert renewed.warnings
    assert reopen().get("mine") == renewed


def test_adapters_of_before_have_none(
    locations: Locations, reopen: Callable[..., AdapterRegistry], good_folder: Path
) -> None:
    """A database as the version before made it, with an adapter in it."""
    kept, _ = reopen().add("old", good_folder)
    file = locations.root / "registry.db"
    engine = create_engine(f"sqlite:///{file}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0004")
    engine.dispose()
    with sqlite3.connect(file) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(versions)")]
    assert "warnings" not in columns
    assert reopen().get("old") == kept
    assert kept.warnings == ()
