"""make test says what it needs before it runs anything."""

import re
from pathlib import Path

import pytest

from tools import test_needs


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A path with nothing on it; gives a function that puts an empty program there."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CXX", raising=False)
    (tmp_path / "bin").mkdir()

    def put(name, folder="bin"):
        program = tmp_path / folder / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\necho 1\n")  # a compiler prints what it preprocesses
        program.chmod(0o755)

    return put


def test_what_is_missing_is_told_with_its_package(programs, tmp_path):
    nowhere = tmp_path / "postgresql"
    both = {"a C++ compiler": "g++", "PostgreSQL's programs": "postgresql"}
    assert test_needs.missing(nowhere) == both
    programs("g++")
    assert test_needs.missing(nowhere) == {"PostgreSQL's programs": "postgresql"}
    programs("postgres", "postgresql/15/bin")
    assert test_needs.missing(nowhere) == {}


def test_programs_on_the_path_count(programs, tmp_path):
    programs("g++")
    programs("initdb")
    programs("postgres")
    assert test_needs.missing(tmp_path / "postgresql") == {}


def test_it_is_one_line_and_a_failure(programs, tmp_path, capsys):
    assert test_needs.main(tmp_path / "postgresql") == 1
    said = capsys.readouterr().err
    assert said.endswith("apt-get install g++ postgresql\n")
    assert said.count("\n") == 1
    programs("g++")
    programs("postgres", "postgresql/15/bin")
    assert test_needs.main(tmp_path / "postgresql") == 0
    assert capsys.readouterr().err == ""


def test_make_test_asks_before_the_first_test():
    makefile = (Path(__file__).parents[3] / "Makefile").read_text("utf-8")
    recipe = re.search(r"^test: .*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe is not None
    first = next(line for line in recipe[1].splitlines() if "-m " in line)
    assert first.endswith("tools.test_needs")
