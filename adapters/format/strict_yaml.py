"""YAML within a budget: bytes, values, depth and lengths are judged before anything is made of it.

A few lines of YAML can stand for billions of values: an alias stands for all that its anchor names,
and aliases of aliases multiply. What is counted here is what a file stands for, each alias as often
as it is used; an alias within its own anchor has no end, and is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

MAX_BYTES: Final = 2**18
MAX_VALUES: Final = 10_000
MAX_DEPTH: Final = 32
MAX_CHARACTERS: Final = 10_000
"""Of one text or number."""

_TOO_DEEP = f"is nested too deeply, or within itself; {MAX_DEPTH} levels are read at most"


class BadYaml(yaml.YAMLError):
    """A text that is no YAML, or more of it than is read.

    Attributes:
        line: where, counted from 1; None for the whole of it.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class _Extent:
    """What a node stands for: how many values, and how many levels of them."""

    values: int = 1
    depth: int = 1


def read_text(path: Path) -> str:
    """The text of a file, as far as it is small enough.

    Raises:
        BadYaml: it has more bytes than are read, or is not UTF-8.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise BadYaml(f"is larger than {MAX_BYTES} bytes, the most that is read")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadYaml("is not UTF-8 text") from None


def composed(text: str) -> yaml.Node | None:
    """The tree of a text's one document, within the budget; None if there is nothing in it.

    Raises:
        BadYaml: it is no YAML, or stands for more than the budget.
    """
    if len(text) > MAX_BYTES:
        raise BadYaml(f"has more than {MAX_BYTES} characters, the most that are read")
    try:
        loader = _CountingLoader(text)
        try:
            node: yaml.Node | None = loader.get_single_node()
        finally:
            loader.dispose()
        if node is not None:
            _Measure().of(node, 0)
    except RecursionError:
        raise BadYaml(_TOO_DEEP) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "not understood"
        raise BadYaml(f"is not YAML: {reason}", None if mark is None else mark.line + 1) from None
    except BadYaml:
        raise
    except yaml.YAMLError as error:
        raise BadYaml(f"is not YAML: {str(error).splitlines()[0]}") from None
    return node


def plain_values(node: yaml.Node) -> Any:  # noqa: ANN401 - whatever YAML holds
    """The plain values of a tree that ``composed`` gave.

    Raises:
        BadYaml: a value cannot be read as what it looks like, such as the 40th of May.
    """
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "not understood"
        raise BadYaml(f"is not YAML: {reason}", None if mark is None else mark.line + 1) from None
    except (ValueError, OverflowError, LookupError, AttributeError, TypeError):
        # What the library raises at a date that is none, or a tag that its value does not fit.
        raise BadYaml("holds a value that cannot be read as what it looks like") from None
    finally:
        loader.dispose()


def load(text: str) -> Any:  # noqa: ANN401 - whatever YAML holds
    """The plain values of a text's one document, None for nothing. Errors as in ``composed``."""
    node = composed(text)
    return None if node is None else plain_values(node)


class _CountingLoader(yaml.SafeLoader):
    """Stops reading at the value that is too many, or too deep."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values = 0
        self._level = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """One value with all in it."""
        peek: Callable[[], Any] = self.peek_event
        line = peek().start_mark.line + 1
        self._values += 1
        self._level += 1
        if self._values > MAX_VALUES:
            raise _too_many(line)
        if self._level > MAX_DEPTH:
            raise BadYaml(_TOO_DEEP)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._level -= 1
        return node


class _Measure:
    """Adds up what nodes stand for; each is looked at once, however many aliases it has."""

    def __init__(self) -> None:
        self._known: dict[int, _Extent] = {}
        self._open: set[int] = set()

    def of(self, node: yaml.Node, level: int) -> _Extent:
        """What a node stands for, at a level of so many nodes around it."""
        line = node.start_mark.line + 1
        if id(node) in self._open:
            raise BadYaml(_TOO_DEEP)
        if id(node) not in self._known:
            self._open.add(id(node))
            self._known[id(node)] = self._measured(node, level, line)
            self._open.discard(id(node))
        found = self._known[id(node)]
        if level + found.depth > MAX_DEPTH:
            raise BadYaml(_TOO_DEEP)
        return found

    def _measured(self, node: yaml.Node, level: int, line: int) -> _Extent:
        if isinstance(node, yaml.ScalarNode):
            if len(node.value) > MAX_CHARACTERS:
                raise BadYaml(f"holds a value of more than {MAX_CHARACTERS} characters", line)
            return _Extent()
        values, depth = 1, 1
        for child in _children(node, line):
            found = self.of(child, level + 1)
            values, depth = values + found.values, max(depth, 1 + found.depth)
            if values > MAX_VALUES:
                raise _too_many(line)
        return _Extent(values, depth)


def _too_many(line: int) -> BadYaml:
    return BadYaml(
        f"stands for more than {MAX_VALUES} values, each alias counted as often as it is used; "
        "write less, or use fewer aliases",
        line,
    )


def _children(node: yaml.Node, line: int) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        keys = [key for key, _ in node.value]
        if not all(isinstance(key, yaml.ScalarNode) for key in keys):
            raise BadYaml("holds a key that is no plain text", line)
        return [*keys, *(value for _, value in node.value)]
    return list(node.value)
