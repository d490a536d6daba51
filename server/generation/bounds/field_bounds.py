"""Bounds of fields that are passed through to the engine, which does work by what stands in them.

An answer may be held to a schema, a regex, choices, a grammar or a tag; a grammar is compiled of
it, and that may take far longer than its length says. So each is measured before anything is
compiled, and what is too much is refused by its field, with what it has and the most that is taken.
What no bound sees is left to the deadline of the compilation (``server.engine.structured``).
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from server.engine.structured.settings import StructuredOutputSettings
from server.errors import InvalidRequest
from server.generation.bounds.regex_size import regex_size, written_number

_CONSTRAINTS: Final = ("structured_outputs", "response_format", "text", "tool_choice")
_STOP_TEXTS: Final = ("stop", "bad_words")
_ENTRIES: Final = ("stop_token_ids", "logit_bias")
_TOKEN_IDS: Final = ("allowed_token_ids", "logprob_token_ids")
_OPTIONS: Final = (
    *("stop", "bad_words", "logit_bias", "repetition_detection", "mm_payload", "vllm_xargs"),
    *("chat_template_kwargs", "mm_processor_kwargs", "media_io_kwargs"),
)

_NAMED: Final = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
)
"""Keys of a schema whose object has a schema under each of its names."""
_ALTERNATIVES: Final = frozenset(
    {
        *("choice", "enum", "anyOf", "oneOf", "allOf", "prefixItems", "type"),
        *("elements", "tags", "structures", "triggers", "excludes"),
    }
)
"""Keys whose list has a way in each of its entries: of choices, of schemas, of structural tags."""
_REGEXES: Final = frozenset({"pattern", "regex", "whitespace_pattern"})
_GRAMMARS: Final = frozenset({"grammar", "definition"})
_IN_JSON: Final = frozenset({"json", "structural_tag"})
"""Keys whose text may be JSON."""

_REPEATED: Final = re.compile(
    r"\{\s*+(\d*+)\s*+,?+\s*+(\d*+)\s*+\}|~\s*+(\d++)(?:\s*+\.\.\s*+(\d++))?"
)
_RULE: Final = re.compile(r"^[ \t]*+[?!]?+[\w.%-]++[ \t]*+(?:::=|:(?!=))", re.MULTILINE)
_SHOWN: Final = 40


def check_bounds(body: Mapping[str, Any], most: StructuredOutputSettings) -> None:
    """Let a body through whose passed fields are within their bounds.

    Args:
        body: the request's, of any API.
        most: the bounds.

    Raises:
        InvalidRequest: a field passes one; the message says which, what it has and the most.
    """
    _check_entries(body, _STOP_TEXTS, most.max_stop_texts)
    _check_entries(body, _ENTRIES, most.max_entries)
    _check_entries(body, _TOKEN_IDS, most.max_token_ids)
    _check_entries(body, ("tools",), most.max_tools)
    _check_bytes(body, _OPTIONS, most.max_options_bytes)
    _check_bytes(body, ("tools",), most.max_tools_bytes)
    _check_bytes(body, _CONSTRAINTS, most.max_bytes)
    for field in (*_CONSTRAINTS, "tools"):
        _Measure(field, most).take(body.get(field))


def _check_entries(body: Mapping[str, Any], fields: Iterable[str], most: int) -> None:
    for field in fields:
        if isinstance(body.get(field), list | Mapping):
            _at_most(len(body[field]), most, field, "entries")


def _check_bytes(body: Mapping[str, Any], fields: Iterable[str], most: int) -> None:
    for field in fields:
        if field in body:
            size = len(json.dumps(body[field], ensure_ascii=False).encode())
            _at_most(size, most, field, "bytes")


def _at_most(found: int, most: int, field: str, what: str) -> None:
    if found > most:
        raise InvalidRequest(f"'{field}' has {found} {what}; at most {most} are taken", param=field)


@dataclass
class _Measure:
    """What has been met in one field, in all that it holds.

    Attributes:
        field: the field's name.
        most: the bounds.
        properties: of schemas, and their definitions.
        alternatives: of choices, enums, regexes and grammars.
    """

    field: str
    most: StructuredOutputSettings
    properties: int = 0
    alternatives: int = 0

    def take(self, value: object) -> None:
        """Measure a value.

        Raises:
            InvalidRequest: it passes a bound.
        """
        waiting: list[tuple[str, object, int]] = [("", value, 1)]
        while waiting:
            key, one, depth = waiting.pop()
            if isinstance(one, str):
                one = self._take_text(key, one)
            if isinstance(one, Mapping):
                self._check_depth(depth)
                self._take_names(key, one)
                waiting.extend((str(name), inner, depth + 1) for name, inner in one.items())
            elif isinstance(one, list):
                self._check_depth(depth)
                if key in _ALTERNATIVES:
                    self._add_alternatives(len(one))
                waiting.extend((key, inner, depth + 1) for inner in one)

    def _take_names(self, key: str, one: Mapping[str, Any]) -> None:
        if key in _NAMED:
            self.properties += len(one)
            most, what = self.most.max_properties, "properties and definitions"
            _at_most(self.properties, most, self.field, what)
        if key == "patternProperties":
            for name in one:
                self._check_regex(str(name))

    def _take_text(self, key: str, text: str) -> object:
        """Measure a text; what it says, if it is JSON that is read as such."""
        if key in _REGEXES:
            self._check_regex(text)
        elif key in _GRAMMARS:
            self._check_grammar(text)
        elif key in _IN_JSON:
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                return None  # who compiles it says that it is no JSON
        return None

    def _check_regex(self, pattern: str) -> None:
        most = self.most.max_regex_size
        size = len(pattern) if len(pattern) > most else regex_size(pattern)
        if size > most:
            raise InvalidRequest(
                f"'{self.field}' has a regex of {size} characters with its repetitions written "
                f"out, which begins {pattern[:_SHOWN]!r}; at most {most} are taken",
                param=self.field,
            )
        self._add_alternatives(pattern.count("|"))

    def _check_grammar(self, text: str) -> None:
        rules = sum(1 for _ in _RULE.finditer(text))
        _at_most(rules, self.most.max_rules, self.field, "rules in its grammar")
        self._add_alternatives(text.count("|"))
        for found in _REPEATED.finditer(text):
            for digits in filter(None, found.groups()):
                most, what = self.most.max_regex_size, "repetitions in its grammar"
                _at_most(written_number(digits), most, self.field, what)

    def _check_depth(self, depth: int) -> None:
        if depth > self.most.max_depth:
            raise InvalidRequest(
                f"'{self.field}' has more than {self.most.max_depth} levels of objects and lists, "
                "the most that are taken; give what is repeated a definition and refer to it",
                param=self.field,
            )

    def _add_alternatives(self, count: int) -> None:
        self.alternatives += count
        _at_most(self.alternatives, self.most.max_alternatives, self.field, "alternatives")
