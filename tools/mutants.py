"""Changes the code in small ways and sees which changes no test notices: ``make mutants``.

    python -m tools.mutants [PACKAGE …] [--minutes 30] [--anew] [--out benchmarks/results/mutants]

Each package of ``tools/mutants.toml`` is copied into a folder of its own, where mutmut changes it
and runs its tests. A run that was stopped goes on from there as long as the code is the same; where
tests are other ones since, what lived is tried again. What comes out is a result file for each
package: how many changes were made and noticed, and each that was not, with the reason that
``mutants.toml`` gives for it. It ends in 1 if a package is below 95 %, or a change that lives has
no reason.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from benchmarks import machine

ROOT = Path(__file__).parents[1]
SETTINGS = ROOT / "tools" / "mutants.toml"
RESULTS = ROOT / "benchmarks" / "results" / "mutants"
WORK = ROOT / "build" / "mutants"
SOURCES = ("adapters", "router", "server")
BESIDE = ("benchmarks", "clients", "docker", "docs", "examples", "tools", "LICENSE")
"""What tests read besides the code and themselves."""

AIM = 0.95
FIXTURES_S = 2
"""What the fixtures of a change's tests may take: too little for the real encoder."""

NOTICED = ("killed", "timeout")
STATUSES = {0: "survived", 1: "killed", 3: "killed", 33: "no tests", 5: "no tests", None: "not run"}
TIMEOUTS = (24, -24, 36, 152)
"""Exit codes that mutmut keeps, and what they mean; others say that the test process broke.

mutmut calls 255 a time-out. It is a process that did not get as far as the tests: pytest finds none
by an id that it has escaped twice, as it does with given ids that hold line breaks.
"""


@dataclass(frozen=True)
class Package:
    """Code that is changed, and the tests that have to notice."""

    code: tuple[str, ...]
    tests: tuple[str, ...]
    but: tuple[str, ...] = ()

    def configuration(self) -> str:
        """mutmut's, for the end of pyproject.toml."""
        values: dict[str, object] = {
            "source_paths": SOURCES,
            "only_mutate": self.code,
            "do_not_mutate": self.but,
            "also_copy": BESIDE,
            "pytest_add_cli_args_test_selection": self.tests,
            # Half of a change's time would go to collecting garbage, for warnings.
            "pytest_add_cli_args": ("-p", "no:unraisableexception"),
            # torch's threads do not outlive a fork of the process that ran tests.
            "process_isolation": "forkserver",
            # mutmut counts a time-out as noticed, and times tests without their fixtures: 15 times
            # so many seconds, and 15 times what the tests take.
            "timeout_constant": FIXTURES_S,
        }
        lines = (f"{key} = {json.dumps(value)}" for key, value in values.items())
        return "\n[tool.mutmut]\n" + "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Living:
    """A change that no test notices."""

    function: str
    change: tuple[str, ...]
    status: str
    why: str


@dataclass(frozen=True)
class Outcome:
    """Of one package."""

    counts: Mapping[str, int]
    living: tuple[Living, ...]
    minutes: float

    @property
    def score(self) -> float:
        """Share of the changes that were noticed."""
        total = sum(self.counts.values())
        return sum(self.counts.get(status, 0) for status in NOTICED) / total if total else 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain values for the result file."""
        return {
            "score": round(self.score, 4),
            "changes": dict(self.counts),
            "minutes": round(self.minutes, 1),
            "living": [asdict(one) for one in self.living],
        }


def packages() -> dict[str, Package]:
    """The packages of the settings."""
    found = tomllib.loads(SETTINGS.read_text("utf-8"))["packages"]
    return {
        name: Package(**{key: tuple(value) for key, value in one.items()})
        for name, one in found.items()
    }


def reasons() -> dict[tuple[str, tuple[str, ...]], str]:
    """(function, change) → why it may live."""
    kept = tomllib.loads(SETTINGS.read_text("utf-8")).get("kept", [])
    return {(one["function"], tuple(one["change"])): one["why"] for one in kept}


def copied(package: Package, folder: Path) -> bool:
    """Bring a folder up to date with what git tracks; whether a test of its is another one now."""
    other_tests = False
    listed = subprocess.run(
        ["git", "ls-files", "-z", *SOURCES, *BESIDE, "tests"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, folder / name
        if not source.is_file():
            continue
        if not target.is_file() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
            other_tests |= name.startswith("tests/")
    settings = (ROOT / "pyproject.toml").read_text("utf-8") + package.configuration()
    (folder / "pyproject.toml").write_text(settings, "utf-8")
    return other_tests


def forget_what_lived(folder: Path) -> None:
    """Let the next run try again what no test noticed, with which tests reach what found anew.

    What timed out is among it: a machine that was busy may have been the reason.
    """
    (folder / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    for file in (folder / "mutants").rglob("*.py.meta"):
        content = json.loads(file.read_text("utf-8"))
        codes = content["exit_code_by_key"]
        content["exit_code_by_key"] = {
            key: code if status_of(code) == "killed" else None for key, code in codes.items()
        }
        file.write_text(json.dumps(content), "utf-8")


def mutmut(folder: Path, *arguments: str, seconds: float | None = None) -> str | None:
    """What mutmut prints; None if it ran out of time.

    Raises:
        SystemExit: it failed.
    """
    command = [sys.executable, "-c", "from mutmut.__main__ import cli; cli()", *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        raise SystemExit(f"mutmut {' '.join(arguments)}: {(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def measured(name: str, package: Package, minutes: float) -> Outcome:
    """Run one package's changes, for so many minutes at most."""
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    if copied(package, folder):
        forget_what_lived(folder)
    mutmut(folder, "run", seconds=60 * minutes)
    taken = (time.monotonic() - begin) / 60
    statuses = {
        key: status_of(code)
        for file in sorted((folder / "mutants").rglob("*.py.meta"))
        if is_changed(file.relative_to(folder / "mutants").with_suffix(""), package)
        for key, code in json.loads(file.read_text("utf-8"))["exit_code_by_key"].items()
    }
    why = reasons()
    living = tuple(
        lived(folder, key, status, why)
        for key, status in statuses.items()
        if status not in (*NOTICED, "not run")
    )
    return Outcome(Counter(statuses.values()), living, taken)


def is_changed(file: Path, package: Package) -> bool:
    """Whether a file is among those that the package changes."""
    path = file.as_posix()
    return any(fnmatch(path, one) for one in package.code) and not any(
        fnmatch(path, one) for one in package.but
    )


def status_of(code: int | None) -> str:
    """What an exit code that mutmut keeps means."""
    return "timeout" if code in TIMEOUTS else STATUSES.get(code, "broken")


def lived(
    folder: Path, key: str, status: str, why: Mapping[tuple[str, tuple[str, ...]], str]
) -> Living:
    """A change that lives, by its difference."""
    shown = mutmut(folder, "show", key) or ""
    function, change = function_of(key), tuple(changed_lines(shown))
    return Living(function, change, status, why.get((function, change), ""))


def function_of(key: str) -> str:
    """``router.policies.base.softmax`` of mutmut's name for a change in it."""
    plain = key.rpartition("__mutmut_")[0]
    module, _, name = plain.rpartition(".")
    parts = name.split("ǁ")[1:] if name.startswith("xǁ") else [name.removeprefix("x_")]
    return ".".join([module, *parts])


def changed_lines(difference: str) -> Iterator[str]:
    """The lines that a difference takes out and puts in."""
    for line in difference.splitlines():
        if line[:1] in "+-" and line[:3] not in ("+++", "---"):
            yield f"{line[0]} {line[1:].strip()}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    known = packages()
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"of {', '.join(known)}")
    parser.add_argument("--minutes", type=float, default=30, help="for each package, at most")
    parser.add_argument("--anew", action="store_true", help="forget what earlier runs have tried")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result files")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.packages) - set(known)):
        parser.error(f"no package {unknown[0]!r}; there are {', '.join(known)}")
    given.out.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in given.packages or known:
        if given.anew:
            shutil.rmtree(WORK / name, ignore_errors=True)
        outcome = measured(name, known[name], given.minutes)
        content = {
            "command": f"python -m tools.mutants {name}",
            "commit": machine.commit_of(ROOT),
            **outcome.as_json(),
        }
        written = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (given.out / f"{name}.json").write_text(written, "utf-8")
        without = sum(not one.why for one in outcome.living)
        print(
            f"{name}: {outcome.score:.1%} of {sum(outcome.counts.values())} changes noticed,"
            f" {len(outcome.living)} live, {without} of them without a reason",
            flush=True,
        )
        failed |= outcome.score < AIM or without > 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
