"""Module patterns of a PEFT config, matched as PEFT matches them, within bounded time.

PEFT lets an adapter's config carry regular expressions (``rank_pattern``, ``alpha_pattern``,
``target_modules``). They come from whoever uploads, and a pattern of thirty characters can keep a
backtracking matcher busy for years. So they are matched here, once, by a matcher with a clock; what
is stored names modules literally, and neither PEFT nor the engine meets the original again.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from time import monotonic

import regex

from adapters.errors import InvalidConfig, shown

_MAX_PATTERN_CHARS = 2000
_CHARACTERS = re.compile(r"[A-Za-z0-9_.\-|()\[\]{},:^$*+?\\]*")
_AMBIGUOUS = re.compile(r"\{(?!\d+(?:,\d*)?\})|\(\?(?!:)|\[\[|--|\|\|")
"""Braces that are no repeat count, extension groups, set arithmetic: matchers read them apart."""


@dataclass(frozen=True, slots=True)
class PatternClock:
    """The moment by which all matching for one config must be done (``time.monotonic`` seconds)."""

    deadline: float

    @classmethod
    def seconds(cls, allowance: float = 1.0) -> "PatternClock":
        """Allow so many seconds from now."""
        return cls(monotonic() + allowance)

    @property
    def remaining(self) -> float:
        """Seconds left; never quite 0, since the matcher reads 0 as no limit at all."""
        return max(self.deadline - monotonic(), 1e-6)


class SuffixPatterns:
    """Keys of ``rank_pattern`` or ``alpha_pattern``.

    A key fits a module if it matches the whole name or the part after some dot; the first fitting
    key in the config's order counts (``get_pattern_key`` of PEFT 0.21).
    """

    def __init__(self, keys: Iterable[str], clock: PatternClock) -> None:
        self._clock = clock
        self._compiled = [(key, _compile(rf"(.*\.)?({key})", key)) for key in keys]

    def first_match(self, module: str) -> str | None:
        """The key that counts for a module, or None."""
        for key, compiled in self._compiled:
            if _matches(compiled, module, key, self._clock):
                return key
        return None


class ModuleSelector:
    """``target_modules`` or ``exclude_modules``: a whole-name regex, or names and suffixes."""

    def __init__(self, modules: str | Collection[str], clock: PatternClock) -> None:
        self._clock = clock
        self._key = modules if isinstance(modules, str) else ""
        self._regex = _compile(modules, modules) if isinstance(modules, str) else None
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
            return _matches(self._regex, module, self._key, self._clock)
        parts = module.split(".")
        return any(".".join(parts[start:]) in self._names for start in range(len(parts)))


def _compile(wrapped: str, key: str) -> "regex.Pattern[str]":
    """Compile a pattern that both matchers, Python's and the one with a clock, read alike."""
    if len(key) > _MAX_PATTERN_CHARS:
        raise InvalidConfig(f"the module pattern {shown(key)} is too long")
    if _CHARACTERS.fullmatch(key) is None or _AMBIGUOUS.search(key):
        raise InvalidConfig(
            f"the module pattern {shown(key)} uses more of regular expressions than module names "
            "need; name the modules, or use . * + ? | [ ] ( ) and \\d"
        )
    try:
        re.compile(key)
        re.compile(wrapped)
        return regex.compile(wrapped, regex.VERSION0)
    except (re.error, regex.error, OverflowError, RecursionError):
        raise InvalidConfig(
            f"the module pattern {shown(key)} is not a regular expression"
        ) from None


def _matches(compiled: "regex.Pattern[str]", module: str, key: str, clock: PatternClock) -> bool:
    try:
        return compiled.fullmatch(module, timeout=clock.remaining) is not None
    except TimeoutError:
        raise InvalidConfig(
            f"the module pattern {shown(key)} takes too long to match; simplify it"
        ) from None
