"""The engine's process: where it comes from."""

from pathlib import Path

import psutil

from tests.support.running_server import RunningServer

FORK_SAFE = {"jemalloc_bg_thd"}
"""Threads whose library minds forks: the allocator that pyarrow brings."""


def test_the_engine_is_forked_off_a_process_that_a_fork_leaves_whole(server: RunningServer) -> None:
    family = psutil.Process(server.process.pid).children(recursive=True)
    (engine,) = [one for one in family if "EngineCore" in " ".join(one.cmdline())]
    parent = engine.parent()
    assert parent is not None
    assert " ".join(parent.cmdline()).strip() == "Loralloy::ForkServer"
    tasks = [Path(f"/proc/{parent.pid}/task/{thread.id}/comm") for thread in parent.threads()]
    names = {task.read_text().strip() for task in tasks if task.parent.name != str(parent.pid)}
    assert names <= FORK_SAFE
