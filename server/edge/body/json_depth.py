"""How deep a JSON value is nested: what is read has to be written anew, deeper in the stack.

Python's reader and writer of JSON go as deep as the stack that they are called from leaves room, so
that what one of them takes the other may not.
"""

from typing import Final

MOST: Final = 128
"""Levels of a body: far more than any schema or conversation has, and far from the stack's end."""


def is_too_deep(raw: bytes, value: object) -> bool:
    """Whether a value has more than ``MOST`` levels.

    Args:
        raw: the text that it was read from; few brackets in it settle the matter.
        value: as :mod:`json` reads it.
    """
    if raw.count(b"[") + raw.count(b"{") <= MOST:
        return False
    level = [value]
    for _ in range(MOST):
        level = [child for one in level for child in _children(one)]
        if not level:
            return False
    return True


def _children(value: object) -> list[object]:
    """The objects and lists that stand directly in one."""
    if isinstance(value, dict):
        return [one for one in value.values() if isinstance(one, dict | list)]
    if isinstance(value, list):
        return [one for one in value if isinstance(one, dict | list)]
    return []
