"""How long a regex is once its repetitions are written out: what its automaton is made from.

    [a-z]{1,200}     200        (ab){3,}     6
    (a{1,100}){50}   5000       a|bc         3

Only what repeats and what groups is read; whether it is a regex at all is left to who compiles it.
"""

import re
from typing import Final

LARGEST: Final = 10**9
"""Sizes beyond it are told as this one."""

_PART: Final = re.compile(
    r"\\.|\[(?:\\.|[^\]\\])*+\]|\{(?P<least>\d*+)(?P<comma>,?+)(?P<most>\d*+)\}|.", re.DOTALL
)
"""One step of reading: an escape, a class, a repetition, or a character. None goes back."""


def regex_size(pattern: str) -> int:
    """Characters and classes of a regex with every ``{m,n}`` written out n times, m without n.

    Args:
        pattern: the regex, of a length that has been bounded.
    """
    outer: list[int] = []  # sizes before the groups that are open
    size = last = 0  # of what stands in the innermost group so far, and of its last part
    for part in _PART.finditer(pattern):
        text = part.group()
        if text == "(":
            outer.append(size)
            size = last = 0
        elif text == ")" and outer:
            size, last = size + outer.pop(), size
        elif part["least"] or part["most"]:
            times = written_number(part["most"] or part["least"])
            size, last = size + last * max(times - 1, 0), last * max(times, 1)
        elif text not in "|*+?":
            size, last = size + 1, 1
        size, last = min(size, LARGEST), min(last, LARGEST)
    return min(size + sum(outer), LARGEST)


def written_number(digits: str) -> int:
    """A number in decimal digits, ``LARGEST`` at most, however many digits it has."""
    short = digits.lstrip("0")[: len(str(LARGEST))]
    return min(int(short or 0), LARGEST)
