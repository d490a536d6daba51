"""A folder that cannot be written to has a temporary one in its place, and the log says so."""

import logging
import os
import stat
from pathlib import Path

import pytest

from server.engine.machine.cache_folder import usable


def test_a_folder_is_made_and_used(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "cache"
    assert usable(folder) == folder
    assert folder.is_dir()
    assert not list(folder.iterdir())


def unwritable(kind: str, tmp_path: Path) -> Path:
    if kind == "below a file":
        (tmp_path / "file").write_text("")
        return tmp_path / "file" / "cache"
    if kind == "a file":
        (tmp_path / "cache").write_text("")
        return tmp_path / "cache"
    if kind == "a link to nowhere":
        (tmp_path / "cache").symlink_to(tmp_path / "missing" / "x")
        return tmp_path / "cache"
    if kind == "a system's":
        return Path("/proc/loralloy-cache")
    (tmp_path / "cache").mkdir(mode=0o500)
    return tmp_path / "cache"


@pytest.mark.parametrize(
    "kind", ["below a file", "a file", "a link to nowhere", "a system's", "read-only"]
)
def test_otherwise_a_temporary_one(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if kind == "read-only" and os.geteuid() == 0:
        pytest.skip("nothing is read-only to root")
    folder = unwritable(kind, tmp_path)
    with caplog.at_level(logging.WARNING):
        instead = usable(folder)
    assert instead != folder
    assert instead.is_dir()
    assert stat.S_IMODE(instead.stat().st_mode) == 0o700, "what is run from it is nobody else's"
    assert str(folder) in caplog.text
    assert str(instead) in caplog.text
    assert usable(folder) == instead, "one folder a process"
