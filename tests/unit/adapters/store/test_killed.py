"""A process that is killed while it stores an adapter leaves the old state or the new one."""

import itertools
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from adapters.limits import Limits
from adapters.registry.fsck import check
from adapters.registry.registry import AdapterRegistry
from adapters.registry.storage import Locations, open_storage
from adapters.validation.base_model import read_base_model
from tests.unit.adapters.conftest import new_places

ROOT = Path(__file__).resolve().parents[4]
pytestmark = pytest.mark.parametrize("storage_kind", ["sqlite+local", "postgres+s3"])


@pytest.fixture(scope="session")
def base_folder(tiny_config: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-llama")
    tiny_config.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def uploader() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.support.dying_upload"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        yield process
        process.stdin.close()


def job(places: Locations, base: Path, folders: list[Path], step: int, told: Path) -> str:
    values = {
        "places": {**asdict(places), "root": str(places.root)},
        "base": str(base),
        "folders": list(map(str, folders)),
        "step": step,
        "acknowledged": str(told),
    }
    return json.dumps(values) + "\n"


def look(
    places: Locations, base_folder: Path, folders: list[Path], told: Path, postgres: Any
) -> int:
    """Check what a killed process has left; returns how many of the two changes are there."""
    if postgres is not None:
        postgres.wait_until_left(places.database_url)
    acknowledged = told.read_text().split() if told.exists() else []
    storage = open_storage(places, tidy=False)
    left = {finding.kind for finding in check(storage).findings}
    storage.database.dispose()
    assert left <= {"leftover", "unreferenced"}, "nothing that has a name is missing or damaged"

    base = read_base_model(base_folder, "tiny-llama")
    registry = AdapterRegistry(places.root, base, Limits(), storage=open_storage(places))
    assert registry.problems == []
    versions = [one.digest for one in registry.versions("sums")[::-1]] if registry.all() else []
    assert versions[: len(acknowledged)] == acknowledged, "what was acknowledged is kept"
    assert sorted(registry.store.digests()) == sorted(versions)
    registry.close()
    storage = open_storage(places, tidy=False)
    report = check(storage)
    assert report.findings == (), "every content is whole, and the start has tidied up"
    storage.database.dispose()
    return len(versions)


def test_killed_before_any_step(
    storage_kind: str,
    uploader: subprocess.Popen[str],
    base_folder: Path,
    good_folder: Path,
    other_folder: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    folders = [good_folder, other_folder]
    postgres = request.getfixturevalue("postgres") if "postgres" in storage_kind else None
    seen: list[int] = []
    for step in itertools.count(1):
        places = new_places(storage_kind, tmp_path / str(step), request)
        told = tmp_path / f"told {step}"
        uploader.stdin.write(job(places, base_folder, folders, step, told))
        uploader.stdin.flush()
        answer = json.loads(uploader.stdout.readline())
        seen.append(look(places, base_folder, folders, told, postgres))
        if not answer["killed_by"]:
            break
        assert answer["killed_by"] == signal.SIGKILL
    assert step == answer["steps"] + 1 > 10
    assert seen == sorted(seen)
    assert set(seen) == {0, 1, 2}


LOOP = """
import json, sys
from pathlib import Path
from adapters.limits import Limits
from adapters.registry.registry import AdapterRegistry
from adapters.validation.base_model import read_base_model
from adapters.registry.storage import Locations, open_storage

job = json.loads(sys.stdin.readline())
places = Locations(**{**job["places"], "root": Path(job["places"]["root"])})
base = read_base_model(Path(job["base"]), "tiny-llama")
registry = AdapterRegistry(places.root, base, Limits(), storage=open_storage(places))
first, second = map(Path, job["folders"])
with Path(job["acknowledged"]).open("a") as told:
    told.write("begun\\n")
    told.flush()
    while True:
        for change, folder in ((registry.replace, second), (registry.replace, first)):
            adapter, _ = change("sums", folder)
            told.write(f"{adapter.version} {adapter.digest}\\n")
            told.flush()
"""


def test_killed_at_random(
    storage_kind: str,
    places: Locations,
    base_folder: Path,
    good_folder: Path,
    other_folder: Path,
    tmp_path: Path,
    open_registry: Callable[..., AdapterRegistry],
    request: pytest.FixtureRequest,
) -> None:
    base = read_base_model(base_folder, "tiny-llama")
    open_registry(places, base).add("sums", good_folder)
    chance = random.Random(4)
    for turn in range(2):
        told = tmp_path / f"told {turn}"
        with subprocess.Popen(
            [sys.executable, "-c", LOOP], stdin=subprocess.PIPE, text=True, cwd=ROOT
        ) as process:
            process.stdin.write(job(places, base_folder, [good_folder, other_folder], 0, told))
            process.stdin.flush()
            while not told.exists() or not told.read_text():
                assert process.poll() is None
                time.sleep(0.02)
            time.sleep(chance.random())
            process.kill()
        registry = open_registry(replace(places, root=places.root), base)
        assert registry.problems == []
        now = registry.get("sums")
        lines = told.read_text().splitlines()
        last = int(lines[-1].split()[0]) if len(lines) > 1 else 0
        assert now.version in ({last, last + 1} if last else {now.version})
        if now.version == last:
            assert now.digest == lines[-1].split()[1]
        for digest in {one.digest for one in registry.versions("sums")}:
            assert registry.store.is_intact(digest)
