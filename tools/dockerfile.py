"""Reads a Dockerfile and a .dockerignore, as far as this project's files go.

Known are the instructions that :mod:`tools.clean_root` carries out; another one, a heredoc or an
``ADD`` is an error, so that nothing is passed over in silence.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

WORDS = frozenset(
    {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN"}
    | {"SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
)
_FLAG = re.compile(r"--(\S+?)=(\S+)\s+")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


class UnknownInstruction(ValueError):
    """The Dockerfile says something that is not read here."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        line: the line that it begins on.
        word: ``RUN``, ``COPY`` and so on.
        flags: ``--name=value`` before its arguments, in their order.
        text: its arguments as they stand, continued lines joined.
    """

    line: int
    word: str
    flags: tuple[tuple[str, str], ...]
    text: str

    def items(self) -> list[str]:
        """The arguments: of a JSON list, or divided at blanks as a shell does."""
        if self.text.startswith("["):
            return [str(item) for item in json.loads(self.text)]
        return shlex.split(self.text)

    def pairs(self) -> dict[str, str]:
        """The arguments as ``KEY=value``; a key alone has an empty value."""
        return {key: value for key, _, value in (item.partition("=") for item in self.items())}


@dataclass(slots=True)
class Stage:
    """From one ``FROM`` to the next."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[Instruction]:
        """Every instruction of a kind."""
        return [one for one in self.instructions if one.word == word]


def read(path: Path) -> list[Stage]:
    """The stages of a Dockerfile.

    Raises:
        UnknownInstruction: it holds what is not read here.
    """
    stages: list[Stage] = []
    for one in _instructions(path.read_text("utf-8")):
        if one.word == "FROM":
            base, *name = one.text.split()
            stages.append(Stage(base, name[1] if name else str(len(stages))))
        elif stages:
            stages[-1].instructions.append(one)
        else:
            raise UnknownInstruction(f"{path.name}:{one.line}: {one.word} before FROM")
    return stages


def lineage(stages: list[Stage], stage: Stage) -> list[Stage]:
    """A stage and those that it builds on, the first one first."""
    for other in stages:
        if other.name == stage.base:
            return [*lineage(stages, other), stage]
    return [stage]


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Put values in the place of ``$NAME`` and ``${NAME}``; an unknown name is empty."""
    return _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], ""), text)


def _instructions(text: str) -> Iterator[Instruction]:
    joined, begun = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        begun = begun or number
        if line.endswith("\\"):
            joined += line[:-1]
            continue
        yield _instruction(begun, joined + line)
        joined, begun = "", 0
    if joined:
        raise UnknownInstruction(f"line {begun}: it has no end")


def _instruction(number: int, text: str) -> Instruction:
    word, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    if word not in WORDS or "<<" in rest:
        raise UnknownInstruction(f"line {number}: {word} is not read here")
    flags = []
    while found := _FLAG.match(rest):
        flags.append((found[1], found[2]))
        rest = rest[found.end() :]
    return Instruction(number, word, tuple(flags), rest)


class Context:
    """The files that a build can copy: those that .dockerignore leaves."""

    def __init__(self, root: Path) -> None:
        self.root = root
        lines = (root / ".dockerignore").read_text("utf-8").splitlines()
        self._rules = [line.strip() for line in lines if line.strip() and line[0] != "#"]

    def admits(self, path: str) -> bool:
        """Whether a file reaches the build; the last rule that fits it or a folder above wins."""
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        admitted = True
        for rule in self._rules:
            pattern = rule.removeprefix("!").strip("/")
            if any(_fits(pattern, one) for one in above):
                admitted = rule.startswith("!")
        return admitted

    def files(self, source: str) -> list[str]:
        """The admitted files that ``COPY source`` takes, relative to the root."""
        start = self.root / source
        found = sorted(start.rglob("*")) if start.is_dir() else [start]
        names = (path.relative_to(self.root).as_posix() for path in found if path.is_file())
        return [name for name in names if self.admits(name)]


def _fits(pattern: str, path: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatchcase(path.rsplit("/", 1)[-1], pattern[3:])
    depth = path.count("/") == pattern.count("/")  # a star does not cross a slash
    return depth and fnmatchcase(path, pattern)
