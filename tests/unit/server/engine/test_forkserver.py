"""Processes off the fork server: with today's environment, and no longer than their server."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from server.engine import forkserver

PROGRAM = """
import os, sys, time
from server.engine import forkserver
from tests.unit.server.engine import test_forkserver

forkserver._PRELOADED = "colorsys"
os.environ["BEFORE"] = "kept"
os.environ["DROPPED"] = "not to be seen"
forkserver.start()
assert "OPENBLAS_NUM_THREADS" not in os.environ, "what the fork server alone is told has stayed"
os.environ["AFTER"] = "set since"
del os.environ["DROPPED"]
process = forkserver.context().Process(target=test_forkserver.told, args=(sys.argv[1],))
process.start()
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the fork server is for Linux")


def told(file: str) -> None:
    """Runs in the process that was forked: says what it finds, and stays."""
    from server.engine.worker.plugin import _die_with_parent

    _die_with_parent()
    names = ("BEFORE", "AFTER", "DROPPED", "LD_PRELOAD", "OPENBLAS_NUM_THREADS")
    found = [os.environ.get(name, "") for name in names]
    libraries = Path("/proc/self/maps").read_text()
    said = [*found, "colorsys" in sys.modules, "libgomp" in libraries]
    Path(f"{file}.new").write_text("\n".join(map(str, (os.getpid(), *said))))
    Path(f"{file}.new").rename(file)
    signal.pause()


@pytest.fixture
def server(tmp_path: Path):
    root = Path(__file__).parents[4]
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "said")],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root), "LD_PRELOAD": ""},
    )
    yield program
    program.kill()
    program.wait()


def said(server: subprocess.Popen, file: Path) -> list[str]:
    while not file.exists():
        assert server.poll() is None, "it ended"
        os.sched_yield()
    return file.read_text().split("\n")


def test_it_has_the_environment_of_its_start_and_the_libraries_of_the_fork_servers(
    server: subprocess.Popen, tmp_path: Path
) -> None:
    _, *found = said(server, tmp_path / "said")
    assert found == ["kept", "set since", "", "", "", "True", "True"]


def test_it_ends_with_a_server_that_is_killed(server: subprocess.Popen, tmp_path: Path) -> None:
    process = psutil.Process(int(said(server, tmp_path / "said")[0]))
    off = process.parent()
    assert off is not None
    assert off.pid != server.pid
    server.kill()
    server.wait()
    psutil.wait_procs([process, off])
    assert not process.is_running()
    assert not off.is_running()


def test_without_it_processes_come_from_new_interpreters() -> None:
    assert forkserver.context().get_start_method() == "spawn"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", ["libtcmalloc_minimal.so.4", "libgomp-1.so.2"]),
        ("/opt/libgomp.so.1", ["libtcmalloc_minimal.so.4", "libgomp.so.1"]),
        ("/opt/libtcmalloc.so:/opt/libgomp.so.1", ["libtcmalloc.so", "libgomp.so.1"]),
    ],
)
def test_each_library_is_loaded_once(
    given: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("torch/it", "torch.libs/libgomp-1.so.2", "vllm/libs/libtcmalloc_minimal.so.4"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    monkeypatch.setattr(forkserver, "_folder", lambda package: tmp_path / package)
    monkeypatch.setenv("LD_PRELOAD", given)
    assert [Path(one).name for one in forkserver._libraries().split(":")] == expected
