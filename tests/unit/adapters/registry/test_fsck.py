"""What fsck finds, what it puts right, and what it must never throw away."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.registry.fsck import Report, check
from adapters.registry.registry import AdapterRegistry
from adapters.registry.storage import Locations, open_storage

EVERYWHERE = pytest.mark.parametrize("storage_kind", ["sqlite+local", "postgres+s3"])
ROOT = Path(__file__).resolve().parents[4]
WEIGHTS = "adapter_model.safetensors"


def looked(locations: Locations, *, repair: bool = False) -> Report:
    storage = open_storage(locations, tidy=False)
    try:
        return check(storage, repair=repair)
    finally:
        storage.database.dispose()


def found(report: Report) -> list[tuple[str, str, bool]]:
    return sorted((f.kind, f.subject, f.is_solved) for f in report.findings)


@pytest.fixture
def damage(
    storage_kind: str, locations: Locations, request: pytest.FixtureRequest
) -> Callable[[str], None]:
    """Change one byte of a content's weights, where they are kept."""

    def flip(digest: str) -> None:
        if storage_kind.endswith("s3"):
            files = request.getfixturevalue("s3").files()
            path = f"{locations.store_url.removeprefix('s3://')}/blobs/{digest}/{WEIGHTS}"
            content = bytearray(files.cat_file(path))
            content[-1] ^= 1
            files.pipe_file(path, bytes(content))
            return
        weights = locations.root / "blobs" / digest / WEIGHTS
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.chmod(0o644)
        weights.write_bytes(content)

    return flip


@EVERYWHERE
def test_a_registry_in_order_is_clean(
    registry: AdapterRegistry, locations: Locations, good_folder: Path, other_folder: Path
) -> None:
    assert looked(locations).findings == ()
    adapter, _ = registry.add("sums", good_folder)
    registry.replace("sums", other_folder)
    registry.add("twin", good_folder)
    report = looked(locations)
    assert report.is_clean
    assert (report.names, report.versions, report.contents, report.findings) == (2, 3, 2, ())
    assert report.size_bytes == adapter.size_bytes + registry.get("sums").size_bytes


@EVERYWHERE
def test_what_is_left_over_is_removed(
    storage_kind: str,
    registry: AdapterRegistry,
    locations: Locations,
    good_folder: Path,
    other_folder: Path,
    request: pytest.FixtureRequest,
) -> None:
    kept, _ = registry.add("sums", good_folder)
    gone, _ = registry.add("other", other_folder)
    registry.remove("other")
    (locations.root / "staging" / "half").mkdir()
    expected = [("leftover", "staging/half"), ("unreferenced", gone.digest)]
    if storage_kind.endswith("s3"):
        half = f"blobs/{'0' * 64}/{WEIGHTS}"
        files = request.getfixturevalue("s3").files()
        files.pipe_file(f"{locations.store_url.removeprefix('s3://')}/{half}", b"half")
        expected = sorted([*expected, ("leftover", half)])
    report = looked(locations)
    assert found(report) == [(*one, False) for one in expected]
    assert not report.is_clean
    assert found(looked(locations)) == found(report), "looking changes nothing"
    repaired = looked(locations, repair=True)
    assert found(repaired) == [(*one, True) for one in expected]
    assert repaired.is_clean
    assert looked(locations).findings == ()
    assert registry.store.digests() == [kept.digest]


@EVERYWHERE
def test_a_damaged_content_is_set_apart_and_taken_up_again_by_the_same_upload(
    registry: AdapterRegistry,
    reopen: Callable[..., AdapterRegistry],
    locations: Locations,
    good_folder: Path,
    other_folder: Path,
    damage: Callable[[str], None],
) -> None:
    bad, _ = registry.add("sums", good_folder)
    good, _ = registry.add("other", other_folder)
    shutil.rmtree(locations.root / "cache", ignore_errors=True)
    damage(bad.digest)
    [finding] = looked(locations).findings
    assert (finding.kind, finding.subject) == ("damaged", bad.digest)
    assert finding.detail == "sums (version 1)"
    repaired = looked(locations, repair=True)
    assert found(repaired) == [("damaged", bad.digest, False)]
    assert "upload the same content again" in str(repaired.findings[0].repair)
    assert not repaired.is_clean

    again = reopen()
    assert again.all() == [good]
    assert [problem.name for problem in again.problems] == ["sums"]
    assert found(looked(locations)) == [("missing", bad.digest, False)]
    again.add("sums", good_folder)
    assert again.problems == []
    assert looked(locations).findings == ()


@pytest.mark.parametrize("storage_kind", ["sqlite+s3"])
def test_a_damaged_remote_content_is_mended_from_the_good_copy(
    registry: AdapterRegistry,
    locations: Locations,
    good_folder: Path,
    damage: Callable[[str], None],
) -> None:
    adapter, _ = registry.add("sums", good_folder)
    damage(adapter.digest)
    assert found(looked(locations)) == [("damaged", adapter.digest, False)]
    report = looked(locations, repair=True)
    assert found(report) == [("damaged", adapter.digest, True)]
    assert looked(locations).findings == ()
    assert registry.store.is_intact(adapter.digest)


@pytest.mark.parametrize("storage_kind", ["sqlite+s3"])
def test_a_damaged_copy_is_told_and_dropped(
    registry: AdapterRegistry, locations: Locations, good_folder: Path
) -> None:
    adapter, _ = registry.add("sums", good_folder)
    weights = adapter.path / WEIGHTS
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1])
    assert found(looked(locations)) == [("leftover", f"cache/{adapter.digest}", False)]
    assert looked(locations, repair=True).is_clean
    assert not adapter.path.exists()
    assert looked(locations).findings == ()


@pytest.mark.parametrize("storage_kind", ["sqlite+local"])
def test_rows_that_do_not_belong_together_are_told(
    registry: AdapterRegistry, locations: Locations, good_folder: Path, other_folder: Path
) -> None:
    import sqlite3

    registry.add("sums", good_folder)
    lost, _ = registry.add("other", other_folder)
    registry.add("third", good_folder)
    with sqlite3.connect(locations.root / "registry.db") as database:
        database.execute("DELETE FROM contents WHERE digest = ?", [lost.digest])
        database.execute("DELETE FROM versions WHERE name = 'third'")
        database.execute("UPDATE adapters SET routing = '[]' WHERE name = 'sums'")
    assert found(looked(locations, repair=True)) == [
        ("unreadable", "sums", False),
        ("unrecorded", lost.digest, False),
        ("unrecorded", "third", False),
    ]
    assert registry.store.is_intact(lost.digest), "a version stands for it, so it stays"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from server.cli import main; main()",
            "adapters",
            "fsck",
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def test_the_command(
    registry: AdapterRegistry, locations: Locations, good_folder: Path, tmp_path: Path
) -> None:
    adapter, _ = registry.add("sums", good_folder)
    here = ("--data-dir", str(locations.root))
    clean = run(*here)
    assert (clean.returncode, clean.stderr) == (0, "")
    assert " ".join(clean.stdout.split()) == "1 names, 1 versions, 1 contents, 0.0 MiB clean"
    (adapter.path / WEIGHTS).unlink()
    (locations.root / "staging" / "half").mkdir()
    wrong = run(*here)
    assert wrong.returncode == 1
    assert "missing" in wrong.stdout
    assert "sums (version 1)" in wrong.stdout
    assert "2 problems, 2 of them open" in wrong.stdout
    repaired = run(*here, "--repair", "--json")
    report = json.loads(repaired.stdout)
    assert repaired.returncode == 1
    assert [(f["kind"], f["is_solved"]) for f in report["findings"]] == [
        ("missing", False),
        ("leftover", True),
    ]
    assert (report["names"], report["clean"]) == (1, False)

    nowhere = run("--data-dir", str(tmp_path / "nowhere"))
    assert (nowhere.returncode, nowhere.stdout) == (1, "")
    assert nowhere.stderr.startswith("error: there are no adapters in")


def test_the_command_keeps_off_a_running_server(
    registry: AdapterRegistry, locations: Locations
) -> None:
    from server.start.preflight import owned

    with owned(locations.root):
        refused = run("--data-dir", str(locations.root), "--repair")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "a server is running on the data folder" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
