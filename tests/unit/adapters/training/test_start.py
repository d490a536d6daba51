"""The commands' beginnings: Ctrl-C while their libraries are imported ends in one line."""

import sys

import pytest

from adapters.training.process import start


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """A module that is interrupted while it is imported."""
    (tmp_path / "slow_to_import.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "slow_to_import"


def test_an_interrupt_while_importing_ends_in_one_line(slow, capsys):
    assert start(slow) == 130
    assert capsys.readouterr().err == "stopped before it began\n"
    assert slow not in sys.modules


def test_a_command_is_told_what_follows_and_gives_its_status(tmp_path, monkeypatch):
    (tmp_path / "command_of_a_test.py").write_text("def main(first): return len(first)")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert start("command_of_a_test", "four") == 4
