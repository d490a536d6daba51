"""Reads the fields of a given mixture, strictly."""

from collections.abc import Collection, Mapping
from typing import Any

from adapters.errors import shown
from router.mixture import COMBINATIONS, Combination
from server.errors import InvalidMixture, InvalidWeight

MAX_WEIGHT = 1000
"""Far beyond any use, and far from overflowing half precision. The router's limit too."""


def read_weight(raw: object, param: str) -> float:
    """A weight.

    Raises:
        InvalidWeight: it is no number, negative or beyond any sense.
    """
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise InvalidWeight(f"'{param}' must be a number, not {shown(raw)}", param=param)
    if not 0 <= raw <= MAX_WEIGHT:
        raise InvalidWeight(
            f"'{param}' is {shown(raw)}; a weight is a number from 0 to {MAX_WEIGHT}", param=param
        )
    return float(raw)


def read_combination(raw: object) -> Combination:
    """A combination; ``cat`` if nothing is said.

    Raises:
        InvalidMixture: there is none of that name.
    """
    for combination in COMBINATIONS:
        if raw == combination:
            return combination
    if raw is None:
        return "cat"
    raise InvalidMixture(
        f"there is no combination {shown(raw)}; there are {', '.join(COMBINATIONS)}",
        param="mixture.combination",
    )


def read_object(raw: object, place: str, known: Collection[str]) -> Mapping[str, Any]:
    """An object that has none but known fields.

    Raises:
        InvalidMixture: it is something else.
    """
    if not isinstance(raw, Mapping):
        raise InvalidMixture(f"'{place}' must be an object", param=place)
    for key in raw:
        if key not in known:
            raise InvalidMixture(
                f"'{place}' has no field {shown(key)}; it has {', '.join(sorted(known))}",
                param=place,
            )
    return raw
