r"""Text of strangers, made fit for a terminal, a log or a table: nothing in it is a command.

A terminal obeys what it prints: an escape sequence clears the screen, names the window or fills the
clipboard; a character that turns the writing around shows ``gpj.exe`` as ``exe.jpg``; one that is
not seen makes two names look alike. Every such character stands alone, so that it does not matter
into which pieces a text is cut on its way.

What is not seen and does harm (controls, C0 and C1; directions of writing; separators of lines and
paragraphs; characters without width; tags; halves of surrogate pairs) is shown as its escape, as
``\x1b``. What only shapes its neighbours (joiners, soft hyphens, variation selectors) is left out.
The ranges are written out, and not asked of Python's Unicode tables, which know the emoji of last
year alone: an unknown one is no danger.
"""

import json
import re
from typing import Any, Final

_JOINERS: Final = "\u00ad\u034f\u180b-\u180d\u180f\u200c\u200d\ufe00-\ufe0f"
_HIDDEN: Final = (
    "\x00-\x1f\x7f-\x9f"
    "\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180e"
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_UNFIT = re.compile(f"[{_JOINERS}{_HIDDEN}]")
_REFUSED = re.compile(f"(?![\t\n\r])[{_HIDDEN}]")
_JOINER = re.compile(f"[{_JOINERS}]")
_SHORT: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def printable(text: object) -> str:
    """A text in one line, fit to be printed: line breaks and tabs are shown as escapes too."""
    return _UNFIT.sub(_shown, str(text))


def printable_lines(text: object) -> str:
    """A text that may have several lines; line breaks and tabs stay, carriage returns go."""
    return _UNFIT.sub(_shown_in_lines, str(text))


def printable_json(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """A value as indented JSON that reads back as it was, its characters escaped as JSON does."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _UNFIT.sub(_escaped_in_json, text)


def hidden_character(text: str) -> str | None:
    """The first character that no name or description may hold, as its escape; None for none.

    Line breaks, tabs and joiners are let through.
    """
    found = _REFUSED.search(text)
    return None if found is None else _escape(found[0])


def _shown(found: re.Match[str]) -> str:
    character = found[0]
    if _JOINER.fullmatch(character):
        return ""
    return _SHORT.get(character) or _escape(character)


def _shown_in_lines(found: re.Match[str]) -> str:
    character = found[0]
    if character in "\n\t":
        return character
    return "" if character == "\r" else _shown(found)


def _escaped_in_json(found: re.Match[str]) -> str:
    # The only line breaks are the layout's own: those of texts are escaped already.
    return found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1]


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
