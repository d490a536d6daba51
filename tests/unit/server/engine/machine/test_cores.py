"""The engine's cores: how they are listed, and that threads keep to them."""

import os
import threading

import pytest
from pydantic import ValidationError

from server.engine.machine.cores import keep_to, listed, thread_environment
from server.engine.settings import EngineSettings


def test_unbound_is_as_many_threads_as_the_runtime_wants() -> None:
    assert listed("nobind") == ()
    assert "OMP_NUM_THREADS" not in thread_environment("nobind", {})


def test_ranges_and_numbers() -> None:
    assert listed("0-2,8") == (0, 1, 2, 8)
    assert thread_environment("0-2,8", {})["OMP_NUM_THREADS"] == "4"


@pytest.mark.parametrize("cores", ["nobind", "0-1"])
def test_threads_sleep_soon_unless_the_environment_says_how_they_wait(cores: str) -> None:
    assert 0 < int(thread_environment(cores, {"PATH": "/bin"})["GOMP_SPINCOUNT"]) < 300_000
    for given in ({"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}):
        assert "GOMP_SPINCOUNT" not in thread_environment(cores, given)


@pytest.mark.parametrize(
    "cores", ["", "all", "0-", "-1", "0;1", "0, 1", "3-1", "nobind,0", "0\n", "0-2,1"]
)
def test_settings_refuse_what_is_no_list_of_cores(cores: str) -> None:
    with pytest.raises(ValidationError, match="threads"):
        EngineSettings.model_validate({"threads": cores})


def test_threads_keep_to_their_cores() -> None:
    before = os.sched_getaffinity(0)
    core = max(before)
    go_on = threading.Event()
    other = threading.Thread(target=go_on.wait)
    other.start()
    try:
        keep_to({core})
        assert other.native_id is not None
        assert os.sched_getaffinity(other.native_id) == {core}
        assert os.sched_getaffinity(0) == {core}
    finally:
        keep_to(before)
        go_on.set()
        other.join()


def test_a_core_that_the_machine_lacks() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(OSError, match="Invalid argument"):
        keep_to({9999})
    assert os.sched_getaffinity(0) == before
