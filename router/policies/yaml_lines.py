"""YAML with the lines that its values stand on, so that an error can point at one."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

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
        return self.lines.get("", None)


def read_yaml(path: Path) -> tuple[object, LineMap]:
    """A file's plain values and where they stand.

    Raises:
        InvalidPolicy: the file cannot be read, is not YAML, or names a key twice.
    """
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        try:
            node = loader.get_single_node()
            if node is None:
                raise InvalidPolicy([Problem("", "the file is empty")], source=path.name)
            lines: dict[str, int] = {}
            _collect(node, (), lines)
            return loader.construct_document(node), LineMap(lines)
        finally:
            loader.dispose()
    except OSError as err:
        problem = Problem("", f"cannot be read: {err.strerror or type(err).__name__}")
    except UnicodeDecodeError:
        problem = Problem("", "is not UTF-8 text")
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        reason = err.problem or err.context or "not understood"
        problem = Problem("", f"is not YAML: {reason}", None if mark is None else mark.line + 1)
    except yaml.YAMLError as err:
        problem = Problem("", f"is not YAML: {str(err).splitlines()[0]}")
    except RecursionError:
        problem = Problem("", "is nested too deeply, or within itself")
    raise InvalidPolicy([problem], source=path.name)


def _collect(node: Any, at: tuple[str, ...], lines: dict[str, int]) -> None:  # noqa: ANN401
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
            raise yaml.MarkedYAMLError(
                problem=f"the key {word!r} stands twice in one mapping", problem_mark=key.start_mark
            )
        known.add(word)
        lines[LineMap.path((*at, word))] = line
        _collect(value, (*at, word), lines)
