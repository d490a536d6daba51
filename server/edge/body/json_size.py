"""How many values a JSON text holds, judged by its bytes before it is parsed.

Parsing holds up every thread of the process, and what it takes goes by the number of values, not by
the bytes: a text of a megabyte is read in a millisecond, 350,000 empty lists take a second. Every
value but the first follows a comma or an opening bracket, and every field has a colon, so that
counting these bounds both.
"""

import re
from typing import Final

from server.edge.body.json_depth import MOST as DEEPEST
from server.errors import BodyTooLarge, MalformedJson

MOST_VALUES: Final = 2**18
"""Values of a body: token ids of 64 prompts of 4,096, or of two of 131,072."""

MOST_BRACKETS: Final = 2**14
"""Objects and lists of a body: far more than conversations, tools and schemas have."""

MOST_FIELDS: Final = 2**15
"""Fields of a body's objects, all together: their names are made into texts, one by one."""

_BRACKETS: Final = re.compile(rb"[\[\]{}]")
_LOOKED_AT: Final = 4096


def check_size(raw: bytes) -> None:
    """Let a JSON text through that can be parsed at once.

    Args:
        raw: the text. What is no JSON is counted up to its fault, which ends the parser, too.

    Raises:
        BodyTooLarge: it holds too many values, fields, or objects and lists.
        MalformedJson: these begin by going deeper than any body may.
    """
    if _is_small(raw):  # counted with what stands in strings, which is more
        return
    marks = _outside_strings(raw)
    if marks is not None and _is_deep(marks):
        raise MalformedJson("the body is nested too deeply")
    if marks is None or not _is_small(marks):
        raise BodyTooLarge(
            f"the body holds too many values; at most {MOST_VALUES} fields and items, of them "
            f"{MOST_FIELDS} fields and {MOST_BRACKETS} objects and lists, are taken at once"
        )


def _is_small(raw: bytes) -> bool:
    brackets = raw.count(b"[") + raw.count(b"{")
    few = brackets <= MOST_BRACKETS and raw.count(b":") <= MOST_FIELDS
    return few and brackets + raw.count(b",") <= MOST_VALUES


def _is_deep(marks: bytes) -> bool:
    """Whether a text's first brackets open more often than a body may be deep."""
    depth = 0
    for mark in _BRACKETS.findall(marks, 0, _LOOKED_AT):
        depth += 1 if mark in b"[{" else -1
        if depth > DEEPEST:
            return True
    return False


def _outside_strings(raw: bytes) -> bytes | None:
    """A JSON text without its strings; None if it has more of them than it may have values."""
    if b"\\" in raw:
        # A run of backslashes begins at an escape, so that pairs are taken from its beginning.
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    if raw.count(b'"') > 4 * MOST_VALUES:  # a key and a value each have two
        return None
    return b"".join(raw.split(b'"')[::2])
