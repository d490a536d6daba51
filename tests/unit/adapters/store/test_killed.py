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
from tests.unit.adapters.conftest import new_locations

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


def job(locations: Locations, base: Path, folders: list[Path], step: int, journal: Path) -> str:
    values = {
        "locations": {**asdict(locations), "root": str(locations.root)},
        "base": str(base),
        "folders": list(map(str, folders)),
        "step": step,
        "acknowledged": str(journal),
    }
    return json.dumps(values) + "\n"


def look(
    locations: Locations, base_folder: Path, folders: list[Path], journal: Path, postgres: Any
) -> int:
    """Check what a killed process has left; returns how many of the two changes are there."""
    if postgres is not None:
        postgres.wait_until_left(locations.database_url)
    acknowledged = journal.read_text().split() if journal.exists() else []
    storage = open_storage(locations, tidy=False)
    left = {finding.kind for finding in check(storage).findings}
    storage.database.dispose()
    assert left <= {"leftover", "unreferenced"}, "nothing that has a name is missing or damaged"

    base = read_base_model(base_folder, "tiny-llama")
    registry = AdapterRegistry(locations.root, base, Limits(), storage=open_storage(locations))
    assert registry.problems == []
    versions = [one.digest for one in registry.versions("sums")[::-1]] if registry.all() else []
    assert versions[: len(acknowledged)] == acknowledged, "what was acknowledged is kept"
    assert sorted(registry.store.digests()) == sorted(versions)
    registry.close()
    storage = open_storage(locations, tidy=False)
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
        locations = new_locations(storage_kind, tmp_path / str(step), request)
        journal = tmp_path / f"journal {step}"
        uploader.stdin.write(job(locations, base_folder, folders, step, journal))
        uploader.stdin.flush()
        answer = json.loads(uploader.stdout.readline())
        seen.append(look(locations, base_folder, folders, journal, postgres))
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
locations = Locations(**{**job["locations"], "root": Path(job["locations"]["root"])})
base = read_base_model(Path(job["base"]), "tiny-llama")
registry = AdapterRegistry(locations.root, base, Limits(), storage=open_storage(locations))
first, second = map(Path, job["folders"])
with Path(job["acknowledged"]).open("a") as journal:
    journal.write("begun\\n")
    journal.flush()
    while True:
        for change, folder in ((registry.replace, second), (registry.replace, first)):
            adapter, _ = change("sums", folder)
            journal.write(f"{adapter.version} {adapter.digest}\\n")
            journal.flush()
"""


def test_killed_at_random(
    storage_kind: str,
    locations: Locations,
    base_folder: Path,
    good_folder: Path,
    other_folder: Path,
    tmp_path: Path,
    open_registry: Callable[..., AdapterRegistry],
    request: pytest.FixtureRequest,
) -> None:
    base = read_base_model(base_folder, "tiny-llama")
    open_registry(locations, base).add("sums", good_folder)
    chance = random.Random(4)
    for turn in range(2):
        journal = tmp_path / f"journal {turn}"
        with subprocess.Popen(
            [sys.executable, "-c", LOOP], stdin=subprocess.PIPE, text=True, cwd=ROOT
        ) as process:
            process.stdin.write(
                job(locations, base_folder, [good_folder, other_folder], 0, journal)
            )
            process.stdin.flush()
            while not journal.exists() or not journal.read_text():
                assert process.poll() is None
                time.sleep(0.02)
            time.sleep(chance.random())
            process.kill()
        registry = open_registry(replace(locations, root=locations.root), base)
        assert registry.problems == []
        now = registry.get("sums")
        lines = journal.read_text().splitlines()
        last = int(lines[-1].split()[0]) if len(lines) > 1 else 0
        assert now.version in ({last, last + 1} if last else {now.version})
        if now.version == last:
            assert now.digest == lines[-1].split()[1]
        for digest in {one.digest for one in registry.versions("sums")}:
            assert registry.store.is_intact(digest)
