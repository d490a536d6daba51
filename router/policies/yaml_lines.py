"""YAML with the lines that its values stand on, so that an error can point at one."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from adapters.format.strict_yaml import BadYaml, composed, plain_values, read_text
from router.errors import InvalidPolicy, Problem

SEPARATOR = "."


@dataclass(frozen=True, slots=True)
class LineMap:
    """Path of a value, as ``policies.auto.top_k`` → its line, counted from 1."""

    lines: dict[str, int]

    @staticmethod
    def path(location: Iterable[str | int]) -> str:
        """The path of a location, its parts joined by dots."""
        return SEPARATOR.join(str(part) for part in location)

    def line_of(self, path: str) -> int | None:
        """The line of a value, or of the nearest value around it that is in the file."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path.rpartition(SEPARATOR)[0]
        return self.lines.get("")


def read_yaml(path: Path) -> tuple[object, LineMap]:
    """A file's plain values and where they stand.

    Raises:
        InvalidPolicy: the file cannot be read, is not YAML or too much of it, or names a key twice.
    """
    try:
        node = composed(read_text(path))
        if node is None:
            raise InvalidPolicy([Problem("", "the file is empty")], source=path.name)
        lines: dict[str, int] = {}
        _collect(node, (), lines)
        return plain_values(node), LineMap(lines)
    except OSError as err:
        problem = Problem("", f"cannot be read: {err.strerror or type(err).__name__}")
    except BadYaml as err:
        problem = Problem("", str(err), err.line)
    raise InvalidPolicy([problem], source=path.name)


def _collect(node: yaml.Node, at: tuple[str, ...], lines: dict[str, int]) -> None:
    """Note the line of every value below a node; refuse keys that stand there twice."""
    lines.setdefault(LineMap.path(at), node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _collect(item, (*at, str(number)), lines)
    if not isinstance(node, yaml.MappingNode):
        return
    known: set[str] = set()
    for key, value in node.value:
        word = str(key.value)
        line = key.start_mark.line + 1
        if word in known and word != "<<":
            raise BadYaml(f"is not YAML: the key {word[:64]!r} stands twice in one mapping", line)
        known.add(word)
        lines[LineMap.path((*at, word))] = line
        _collect(value, (*at, word), lines)
