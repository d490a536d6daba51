"""Which test files a change touches: they run first, so that what breaks is soon known."""

import subprocess
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

MANY = 20
"""Touched test files beyond which the order stays as it is: then everything is touched."""


def changed_files(root: Path, base: str = "main") -> set[str]:
    """What differs from where the branch left ``base``, and what is not committed, by git.

    Args:
        root: of the checkout.
        base: the branch that is worked towards; without it, what is not committed alone.
    """
    left = _git(root, "merge-base", "HEAD", base)
    since = left[0] if left else "HEAD"
    return {
        *_git(root, "diff", "--name-only", since),
        *_git(root, "ls-files", "--others", "--exclude-standard"),
    }


def touched(tests: Iterable[str], changed: Iterable[str]) -> set[str]:
    """Of these test files, those that changed, or whose module did.

    Args:
        tests: paths from the root; ``tests/unit/router/test_window.py`` is ``router/window.py``'s.
        changed: paths from the root.

    Returns:
        None of them if they are many.
    """
    known = set(changed)
    found = {test for test in tests if {test, _module_of(test)} & known}
    return found if len(found) <= MANY else set()


def _module_of(test: str) -> str:
    path = PurePosixPath(test)
    inner = path.relative_to("tests/unit") if path.is_relative_to("tests/unit") else path
    return str(inner.with_name(inner.name.removeprefix("test_")))


def _git(root: Path, *arguments: str) -> list[str]:
    """Lines of a command's output; none where there is no git, or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []
