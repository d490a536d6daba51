"""Text that commands a terminal, and how to see that none of it got there."""

import re
import unicodedata

HOSTILE = (
    "\x1b]0;owned\x07\x1b[13;37H\x9d8;;http://evil\x9c\r\x08\x00\x7f"
    "\u202egpj\u2066x\u200e\u200f\u061c\u2028\u2029\u0085\x0b\x0c\n"
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\ufe0f\u3164\U000e0041\ud83d\ud800"
    "[red]b[/red] [/nothing] [link=http://evil]here[/link] :smile:"
)
"""One of each kind: escape sequences of C0 and C1, directions, separators, what is not seen, halves
of surrogate pairs, and rich's own markup."""

WHOLE = HOSTILE.replace("\ud83d", "").replace("\ud800", "")
"""The same without the halves, for where only valid Unicode can come."""

_OF_THE_CONSOLE = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\r?\x1b\[[0-9]?[AK]")
"""Colours, and what a progress bar needs."""

_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def commands_in(text: str) -> set[str]:
    """The characters of a terminal's text that could command it or mislead its reader."""
    plain = _OF_THE_CONSOLE.sub("", text)
    return {
        character
        for character in plain
        if character not in "\n\t"
        and (unicodedata.category(character) in _CATEGORIES or character in "\ufe0f\u3164")
    }
