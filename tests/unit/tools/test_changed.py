"""What a change touches is found by git, and runs first."""

import subprocess
from pathlib import Path

import pytest

from tests.support.changed import MANY, changed_files, touched

WINDOW = "tests/unit/router/test_window.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a branch that has changed one file and made another."""

    def git(*arguments: str) -> None:
        name = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        subprocess.run(["git", "-C", str(tmp_path), *name, *arguments], check=True)

    git("init", "-q", "-b", "main")
    for file in ("kept.py", "committed.py", "edited.py"):
        (tmp_path / file).write_text("1\n")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    git("switch", "-q", "-c", "branch")
    (tmp_path / "committed.py").write_text("2\n")
    git("commit", "-q", "-a", "-m", "second")
    (tmp_path / "edited.py").write_text("2\n")
    (tmp_path / "new.py").write_text("2\n")
    return tmp_path


def test_changes_are_those_of_the_branch_and_those_not_committed(checkout: Path) -> None:
    assert changed_files(checkout) == {"committed.py", "edited.py", "new.py"}
    assert changed_files(checkout, base="gone") == {"edited.py", "new.py"}


def test_without_a_repository_nothing_has_changed(tmp_path: Path) -> None:
    assert changed_files(tmp_path) == set()


@pytest.mark.parametrize("changed", [WINDOW, "router/window.py"])
def test_a_test_is_touched_with_its_module(changed: str) -> None:
    others = ("tests/unit/router/test_router.py", "tests/http/test_keys.py")
    assert touched((WINDOW, *others), [changed]) == {WINDOW}


def test_when_everything_is_touched_nothing_is_first() -> None:
    tests = [f"tests/http/test_{number}.py" for number in range(MANY + 1)]
    assert touched(tests, tests[:-1]) == set(tests[:-1])
    assert touched(tests, tests) == set()
