"""How much one policy, or a request's changes to one, may say: judged before any of it is read.

What is wrong with a value is found out value by value, and told with what would be near to it; of
what a stranger sends, that is begun only where it is sure to end soon.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from router.errors import InvalidPolicy, Problem
from router.policies.options import MAX_NAMES
from router.policies.yaml_lines import LineMap

MAX_VALUES: Final = 4 * MAX_NAMES
MAX_DEPTH: Final = 8
SHOWN_CHARACTERS: Final = 64
"""Of a key that a message names."""


def check_extent(raw: Mapping[Any, Any], at: Sequence[str | int]) -> None:
    """Let values through that are no more than a policy needs.

    Args:
        raw: plain values.
        at: where they stand, for the field of an error.

    Raises:
        InvalidPolicy: a list or mapping has more than ``MAX_NAMES`` entries, all together are more
            than ``MAX_VALUES``, or they are nested too deeply.
    """
    waiting: list[tuple[tuple[str | int, ...], object]] = [(tuple(at), raw)]
    values = 0
    while waiting:
        place, value = waiting.pop()
        if not isinstance(value, Mapping | list | tuple):
            continue
        if len(value) > MAX_NAMES:
            raise _refused(place, f"has {len(value)} entries; at most {MAX_NAMES} are read")
        if len(place) - len(at) >= MAX_DEPTH:
            raise _refused(at, f"is nested deeper than {MAX_DEPTH} levels")
        values += len(value)
        if values > MAX_VALUES:
            raise _refused(at, f"holds more than {MAX_VALUES} values in all; write less")
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        waiting.extend(((*place, short(key)), item) for key, item in items)


def short(key: object) -> str | int:
    """A key, or as much of it as a message shows."""
    return key if isinstance(key, int) else str(key)[:SHOWN_CHARACTERS]


def _refused(place: Sequence[str | int], message: str) -> InvalidPolicy:
    return InvalidPolicy([Problem(LineMap.path(place), message)])
