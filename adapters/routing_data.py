"""Routing data: which fields they have on the wire, and which values can be kept and used.

Centroids come as JSON, one vector or a list of several; :func:`parse_vectors` reads them.
:func:`check_routing` holds all routing data to the limits before they are stored.
"""

import math
from typing import Final

from adapters.adapter import RoutingData
from adapters.errors import InvalidRouting
from adapters.limits import Limits
from adapters.printable import hidden_character

CENTROID_FIELDS: Final = ("centroids", "centroid")
"""Several centroids, or one."""

ROUTING_FIELDS: Final = ("examples", "description", *CENTROID_FIELDS, "encoder")
"""The fields of a form, of a JSON body and of a ``router.json``."""

Vectors = tuple[tuple[float, ...], ...]

_LARGEST_INTEGER = 2**63
_MAX_CENTROID = 2**14
_MAX_NAME = 200


def parse_vectors(value: object) -> Vectors:
    """One or several vectors, from a list of numbers or a list of such lists.

    Raises:
        ValueError: it is something else. Widths, and whether values are finite, are judged where
            the vectors are used.
    """
    if not isinstance(value, list) or not value:
        raise ValueError("a list of numbers, or a list of such lists, is needed")
    rows = value if all(isinstance(row, list) for row in value) else [value]
    if not all(_is_real(number) for row in rows for number in row):
        raise ValueError("a value is not a number")
    return tuple(tuple(float(number) for number in row) for row in rows)


def _is_real(value: object) -> bool:
    """A number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < _LARGEST_INTEGER


def check_routing(routing: RoutingData, limits: Limits) -> RoutingData:
    """Return routing data that can be kept and used.

    Raises:
        InvalidRouting: as :func:`check_texts`, or a centroid is no direction.
    """
    check_texts(routing, limits)
    if not all(map(_is_direction, routing.centroids)):
        raise InvalidRouting(
            f"a centroid must have 1 to {_MAX_CENTROID} finite numbers, not all of them 0",
            "centroids",
        )
    return routing


def check_texts(routing: RoutingData, limits: Limits) -> None:
    """Let routing data through that are worth measuring.

    Raises:
        InvalidRouting: too many or too long texts, a hidden character, or too many centroids.
    """
    check_example_count(len(routing.examples), limits)
    texts = [("examples", text) for text in routing.examples]
    if routing.description:
        texts.append(("description", routing.description))
    for field, text in (("description", routing.description), ("encoder", routing.encoder)):
        hidden = hidden_character(text or "")
        if hidden is not None:
            raise InvalidRouting(
                f"'{field}' holds the character {hidden}, which cannot be seen; take it out", field
            )
    if len(routing.encoder or "") > _MAX_NAME:
        raise InvalidRouting(f"'encoder' has more than {_MAX_NAME} characters", "encoder")
    for field, text in texts:
        if not text.strip() or len(text) > limits.max_example_chars or not _is_unicode(text):
            raise InvalidRouting(
                "each example and the description must be valid Unicode of 1 to "
                f"{limits.max_example_chars} characters, not only blanks",
                field,
            )
    check_centroid_count(len(routing.centroids), limits)


def check_example_count(count: int, limits: Limits) -> None:
    """Judge how many examples there are, before any is looked at.

    Raises:
        InvalidRouting: too many.
    """
    if count > limits.max_examples:
        raise InvalidRouting(
            f"{count} examples were given; {limits.max_examples} are kept at most", "examples"
        )


def check_centroid_count(count: int, limits: Limits) -> None:
    """Judge how many centroids there are, before any is looked at.

    Raises:
        InvalidRouting: too many.
    """
    if count > limits.max_centroids:
        raise InvalidRouting(
            f"{count} centroids were given; an adapter has {limits.max_centroids} at most",
            "centroids",
        )


def _is_unicode(text: str) -> bool:
    """False for half a surrogate pair, which JSON can smuggle in and no tokenizer takes."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_direction(vector: tuple[float, ...]) -> bool:
    return (
        0 < len(vector) <= _MAX_CENTROID
        and all(math.isfinite(value) for value in vector)
        and any(vector)
    )
