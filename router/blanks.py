"""What of a text says nothing: blanks, marks that nobody sees, and texts without a word.

They are taken out before a text is cut to a length, so that no room goes to them.
"""

import re
from typing import Final

KEPT: Final = 16
"""Blanks of a run that stay: more than code is indented by, as a rule."""

_UNSEEN: Final = (
    r"\s\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    r"\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U000110bd"
    r"\U000110cd\U00013430-\U00013438\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001"
    r"\U000e0020-\U000e007f"
)
"""Blanks, and what Unicode calls control and format characters (categories Cc and Cf)."""

_RUNS: Final = re.compile(f"([{_UNSEEN}]{{{KEPT}}})[{_UNSEEN}]+")


def condensed(text: str) -> str:
    """The text with its runs of blanks and unseen characters shortened to ``KEPT``."""
    return _RUNS.sub(r"\1", text)


def has_words(text: str) -> bool:
    """Whether a letter or a digit of any script is in a text."""
    return any(character.isalnum() for character in text)
