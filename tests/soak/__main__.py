"""Runs what is too slow or too rare for ``make test``, and keeps what came of it: ``make soak``.

    python -m tests.soak [PART …] [--minutes 10] [--out benchmarks/results]

Each part is a process of its own. Its row in ``soak.json`` and ``soak.md`` says when it ran last,
of which commit, for how long, and how it ended; parts that are not run keep theirs. It ends in 1 if
a part failed.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks import machine

ROOT: Final = Path(__file__).parents[2]
RESULTS: Final = ROOT / "benchmarks" / "results"
LINES_KEPT: Final = 20
"""Last lines of what a part said that are shown if it failed."""


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        what: what it tries, in a few words.
        command: what Python runs; ``{minutes}`` stands for how long.
        environment: variables beside the usual ones.
    """

    what: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def told(self, minutes: float) -> str:
        """The command as one would type it."""
        words = [one.format(minutes=f"{minutes:g}") for one in self.command]
        return shlex.join([*(f"{name}={one}" for name, one in self.environment.items()), *words])


@dataclass(frozen=True)
class Outcome:
    """What came of a part.

    Attributes:
        passed: whether it ended in 0.
        said: its last line, or what pytest counted.
        seconds: how long it took.
        day: when.
        commit: of which commit; ``-dirty`` where files differed from it.
        command: how it was run.
        machine: on what.
    """

    passed: bool
    said: str
    seconds: float
    day: str
    commit: str
    command: str
    machine: str


def _tests(*arguments: str) -> tuple[str, ...]:
    return ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)


def _timed(module: str) -> tuple[str, ...]:
    return ("python", "-m", f"tests.soak.{module}", "--minutes", "{minutes}")


PARTS: Final[Mapping[str, Part]] = {
    "chaos": Part("adapters come and go under load, and the server is killed", _timed("chaos")),
    "fuzz-uploads": Part("archives, headers and configs of any bytes", _timed("fuzz_uploads")),
    "schema": Part(
        "requests made from the OpenAPI schema, 100 a route",
        _tests("tests/http/test_schema.py"),
        {"SCHEMA_CASES": "100"},
    ),
    "many-adapters": Part(
        "a thousand adapters over eight slots",
        _tests("tests/engine/test_many_adapters.py"),
        {"MANY_ADAPTERS": "1000"},
    ),
    "compile-ahead": Part(
        "a start that compiles beside its answers", _tests("tests/soak/compile_ahead.py")
    ),
    "memory": Part(
        "two thousand requests whose weights follow the answer", _tests("tests/soak/memory.py")
    ),
}


def run(part: Part, minutes: float) -> Outcome:
    """Run a part."""
    told = part.told(minutes)
    words = [one.format(minutes=f"{minutes:g}") for one in part.command]
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=ROOT,
        env=os.environ | part.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    taken = time.monotonic() - begun
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    if done.returncode:
        sys.stdout.write("\n".join(lines[-LINES_KEPT:]) + "\n")
    return Outcome(
        passed=done.returncode == 0,
        said=summary(lines),
        seconds=round(taken, 1),
        day=datetime.now(UTC).date().isoformat(),
        commit=machine.commit_of(ROOT),
        command=told,
        machine=machine.described(),
    )


def summary(lines: Sequence[str]) -> str:
    """What a part's output says in the end, in one line.

    Args:
        lines: of its output, none of them empty. Chaos ends in counts, one a line and indented.
    """
    counts = [line for line in lines if line.startswith(" ") and line.split()[0].isdigit()]
    last = counts or lines[-1:]
    return ", ".join(" ".join(line.split()) for line in last)


def report(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The last outcomes, in Markdown."""
    lines = [
        "# What `make soak` found last",
        "",
        "| part | what it tries | outcome | it said | minutes | day | commit | command |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        passed = "passed" if row["passed"] else "**failed**"
        said = row["said"].replace("|", "\\|")
        lines.append(
            f"| {name} | {PARTS[name].what} | {passed} | {said} | {row['seconds'] / 60:.1f} "
            f"| {row['day']} | {row['commit']} | `{row['command']}` |"
        )
    machines = sorted({row["machine"] for row in rows.values()})
    return "\n".join([*lines, "", f"On {'; '.join(machines)}.", ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--minutes", type=float, default=10, help="of each part that has no end")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.parts) - set(PARTS)):
        parser.error(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    kept = given.out / "soak.json"
    rows = json.loads(kept.read_text("utf-8")) if kept.is_file() else {}
    chosen = given.parts or list(PARTS)
    for name in chosen:
        sys.stdout.write(f"{name}: {PARTS[name].told(given.minutes)}\n")
        sys.stdout.flush()
        rows[name] = asdict(run(PARTS[name], given.minutes))
        sys.stdout.write(f"{name}: {rows[name]['said']}\n")
        ordered = {one: rows[one] for one in PARTS if one in rows}
        kept.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", "utf-8")
        (given.out / "soak.md").write_text(report(ordered), "utf-8")
    return 0 if all(rows[name]["passed"] for name in chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
