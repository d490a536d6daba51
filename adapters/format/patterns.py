"""Module patterns of a PEFT config, matched as PEFT matches them, within bounded time.

PEFT lets an adapter's config carry regular expressions (``rank_pattern``, ``alpha_pattern``,
``target_modules``). They come from whoever uploads, and a pattern of thirty characters can keep a
backtracking matcher busy for years. So they are matched here, once, by a matcher with a clock; what
is stored names modules literally, and neither PEFT nor the engine meets the original again.

Whatever Python's ``re`` takes is taken. The matcher with a clock, ``regex``, reads two things more
than ``re`` does, in ways that ``re`` reads as plain characters: braces that are no repeat count
(approximate matching), and ``[:name:]`` in a set. They are escaped before it sees them.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from time import monotonic

import regex

from adapters.errors import InvalidConfig, shown

_Match = Callable[..., "regex.Match[str] | None"]
_MAX_PATTERN_CHARS = 10_000
_MAX_MODULE_CHARS = 500
"""Of a name that a pattern is matched against: a long literal and a long name keep the matcher busy
for minutes without a look at its clock, by the cube of their length."""

_LITERAL = re.compile(r"[A-Za-z0-9_.\-]*")
"""A pattern of names alone, in which a dot stands for any character."""

_READ_APART = re.compile(r"\\N\{[^}]*\}|\\.|\{(?!\d+(?:,\d*)?\}|,\d*\})|\[:", re.DOTALL)
_ESCAPED = {"{": r"\{", "[:": r"[\:"}


@dataclass(frozen=True, slots=True)
class PatternClock:
    """The moment by which all reading and matching of one sort must be done, for one config.

    Attributes:
        deadline: in seconds of ``time.monotonic``.
    """

    deadline: float

    @classmethod
    def seconds(cls, allowance: float = 1.0) -> "PatternClock":
        """Allow so many seconds from now."""
        return cls(monotonic() + allowance)

    @property
    def remaining(self) -> float:
        """Seconds left; never quite 0, since the matcher reads 0 as no limit at all."""
        return max(self.deadline - monotonic(), 1e-6)

    def check(self, key: str) -> None:
        """Let a pattern be begun with while there is time.

        Raises:
            InvalidConfig: there is none.
        """
        if monotonic() > self.deadline:
            raise _too_slow(key)


class SuffixPatterns:
    """Keys of ``rank_pattern`` or ``alpha_pattern``.

    A key fits a module if it matches the whole name or the part after some dot; the first fitting
    key in the config's order counts (``get_pattern_key`` of PEFT 0.21).
    """

    def __init__(self, keys: Iterable[str], clock: PatternClock) -> None:
        self._clock = clock
        self._compiled: list[tuple[str, regex.Pattern[str] | None]] = []
        for key in keys:
            literal = _LITERAL.fullmatch(key) is not None
            self._compiled.append(
                (key, None if literal else _compile(rf"(.*\.)?({key})$", key, clock))
            )

    def first_match(self, module: str) -> str | None:
        """The key that counts for a module, or None."""
        for key, compiled in self._compiled:
            if compiled is None:
                if _ends_in(module, key):
                    return key
            elif _matches(compiled.match, module, key, self._clock):
                return key
        return None


class ModuleSelector:
    """``target_modules`` or ``exclude_modules``: a whole-name regex, or names and suffixes."""

    def __init__(self, modules: str | Collection[str], clock: PatternClock) -> None:
        self._clock = clock
        self._key = modules if isinstance(modules, str) else ""
        self._regex = _compile(modules, modules, clock) if isinstance(modules, str) else None
        self._names = frozenset(() if isinstance(modules, str) else modules)

    @property
    def is_regex(self) -> bool:
        """Whether one regular expression selects, which PEFT exempts from layer restrictions."""
        return self._regex is not None

    def names(self, module: str) -> bool:
        """Whether the list holds the very name of the module."""
        return module in self._names

    def selects(self, module: str) -> bool:
        """Whether the regex matches the whole name, or the list holds it or a dotted suffix."""
        if self._regex is not None:
            return _matches(self._regex.fullmatch, module, self._key, self._clock)
        parts = module.split(".")
        return any(".".join(parts[start:]) in self._names for start in range(len(parts)))


class SavedPattern:
    """A module of ``modules_to_save``, and all below it."""

    def __init__(self, module: str, clock: PatternClock) -> None:
        self._key = module
        self._clock = clock
        self._compiled = _compile(rf"(^|.*\.){module}($|\..*)", module, clock)

    def covers(self, module: str) -> bool:
        """Whether a module is it, or lies in it."""
        return _matches(self._compiled.match, module, self._key, self._clock)


class LayerPattern:
    """What comes before a layer's number, by ``layers_pattern``."""

    def __init__(self, pattern: str, clock: PatternClock) -> None:
        self._key = pattern
        self._clock = clock
        self._compiled = _compile(rf"(?:^|.*?\.){pattern}\.(?P<idx>[0-9]+)\.", pattern, clock)

    def layer_of(self, module: str) -> int | None:
        """The number of a module's layer; None if the pattern finds none."""
        found = _match(self._compiled.match, module, self._key, self._clock)
        return None if found is None else int(found["idx"])


def _ends_in(module: str, key: str) -> bool:
    """Whether a literal key fits a whole name, or what follows one of its dots."""
    start = len(module) - len(key)
    if start < 0 or (start > 0 and module[start - 1] != "."):
        return False
    return all(ours in (theirs, ".") for ours, theirs in zip(key, module[start:], strict=True))


def _compile(wrapped: str, key: str, clock: PatternClock) -> "regex.Pattern[str]":
    """Compile a pattern that Python's matcher takes, for the one with a clock."""
    clock.check(key)
    if len(key) > _MAX_PATTERN_CHARS:
        raise InvalidConfig(f"the module pattern {shown(key)} is too long")
    try:
        re.compile(wrapped)
        return regex.compile(_READ_APART.sub(_escaped, wrapped), regex.VERSION0)
    except (re.error, regex.error, OverflowError, RecursionError):
        raise InvalidConfig(
            f"the module pattern {shown(key)} is not a regular expression"
        ) from None


def _escaped(found: re.Match[str]) -> str:
    return _ESCAPED.get(found[0], found[0])


def _matches(match: _Match, module: str, key: str, clock: PatternClock) -> bool:
    return _match(match, module, key, clock) is not None


def _match(match: _Match, module: str, key: str, clock: PatternClock) -> "regex.Match[str] | None":
    clock.check(key)
    if len(module) > _MAX_MODULE_CHARS:
        raise InvalidConfig(f"the module name {shown(module)} is too long for a pattern")
    try:
        # Concurrent: the matcher would hold Python's lock, and with it the server, until it ends.
        return match(module, timeout=clock.remaining, concurrent=True)
    except TimeoutError:
        raise _too_slow(key) from None


def _too_slow(key: str) -> InvalidConfig:
    return InvalidConfig(f"the module pattern {shown(key)} takes too long to match; simplify it")
