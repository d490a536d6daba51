"""Numbers that JSON can write and nothing further in can hold: refused by their field."""

import math
from collections.abc import Mapping
from typing import Any, Final

from server.edge.body.nulls import DEPTH
from server.errors import InvalidRequest

LEAST: Final = -(2**63)
MOST: Final = 2**63 - 1
"""What a whole number is kept in: 64 bits."""


def check_numbers(fields: Mapping[str, Any]) -> None:
    """Let a body through whose numbers can be kept.

    Args:
        fields: the body's, as :mod:`json` reads them; ``prompt`` may hold token ids in millions,
            and is checked where they are looked up.

    Raises:
        InvalidRequest: a number is too large, with its field.
    """
    for field, value in fields.items():
        if field != "prompt" and not _can_be_kept(value, DEPTH):
            raise InvalidRequest(
                f"'{field[:64]}' has a number that is too large; whole numbers have 64 bits here",
                param=field[:64],
            )


def _can_be_kept(value: object, depth: int) -> bool:
    if isinstance(value, int):
        return LEAST <= value <= MOST
    if isinstance(value, float):
        return math.isfinite(value)
    if depth and isinstance(value, dict):
        return all(_can_be_kept(one, depth - 1) for one in value.values())
    if depth and isinstance(value, list):
        return all(_can_be_kept(one, depth - 1) for one in value)
    return True
