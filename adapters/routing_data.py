"""Centroids as JSON gives them: one vector, or a list of several."""

Vectors = tuple[tuple[float, ...], ...]

_LARGEST_INTEGER = 2**63


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
        raise ValueError("a value that is no number")
    return tuple(tuple(float(number) for number in row) for row in rows)


def _is_real(value: object) -> bool:
    """A number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < _LARGEST_INTEGER
