"""How a training command starts, and how it ends: a status and at most one line."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.training.errors import TrainingError
from adapters.training.process import start, status_of


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def test_a_command_that_did_its_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(lambda: None, writes_to=None, stopped="stopped") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (TrainingError("no such task"), 1, "error: no such task\n"),
        (OSError(28, "No space left on device"), 1, "error: out: No space left on device\n"),
        (PermissionError(13, "Permission denied", "else"), 1, "error: else: Permission denied\n"),
        (KeyboardInterrupt(), 130, "stopped; half is there\n"),
        (TrainingError("a\x1b[2J\u202eb\nc"), 1, "error: a\\x1b[2J\\u202eb\\nc\n"),
        (OSError(2, "none", "a\x9b\nb"), 1, "error: a\\x9b\\nb: none\n"),
    ],
)
def test_a_command_that_broke_off_says_why_in_one_line(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = status_of(raising(error), writes_to=Path("out"), stopped="stopped; half is there")
    assert ended == status
    assert capsys.readouterr() == ("", line)


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that is interrupted while it is imported."""
    (tmp_path / "slow_to_import.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "slow_to_import"


def test_an_interrupt_while_importing_ends_in_one_line(
    slow: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(slow) == 130
    assert capsys.readouterr().err == "stopped before it began\n"
    assert slow not in sys.modules


def test_a_command_gets_what_follows_and_gives_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "command_of_a_test.py").write_text("def main(first): return len(first)")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert start("command_of_a_test", "four") == 4


@pytest.mark.parametrize("name", ["trl", "datasets"])
def test_where_only_serving_is_installed_it_says_what_to_type(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not there
    (tmp_path / f"command_without_{name}.py").write_text(f"def main(): import {name}")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert start(f"command_without_{name}") == 1
    told = capsys.readouterr().err
    assert f"the package {name}," in told
    assert "`make venv`" in told
    assert told.count("\n") == 1


def test_a_module_of_ours_that_is_missing_is_no_hint_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "command_with_a_slip.py").write_text("def main(): import adapters.nowhere")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        start("command_with_a_slip")
