"""The engine's process: where it comes from, and what computes in it."""

from pathlib import Path

import psutil

from tests.support.running_server import RunningServer


def test_the_engine_is_forked_off_a_process_of_one_thread(server: RunningServer) -> None:
    family = psutil.Process(server.process.pid).children(recursive=True)
    (engine,) = [one for one in family if "EngineCore" in " ".join(one.cmdline())]
    parent = engine.parent()
    assert parent is not None
    assert parent.pid != server.process.pid
    assert " ".join(parent.cmdline()).strip() == "Loralloy::ForkServer"
    assert parent.num_threads() == 1


def test_it_has_one_runtime_of_threads(server: RunningServer) -> None:
    family = psutil.Process(server.process.pid).children(recursive=True)
    (engine,) = [one for one in family if "EngineCore" in " ".join(one.cmdline())]
    loaded = {Path(file.path).name for file in engine.memory_maps()}
    assert len([name for name in loaded if name.startswith(("libgomp", "libiomp", "libomp"))]) == 1
