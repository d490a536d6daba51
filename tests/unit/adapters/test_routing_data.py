import pytest

from adapters.routing_data import parse_vectors


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, 0.5], ((1.0, 0.5),)),
        ([[1, 0.5]], ((1.0, 0.5),)),
        ([[1], [2, 3]], ((1.0,), (2.0, 3.0))),
        ([[]], ((),)),
    ],
)
def test_one_vector_or_several_are_read(value, expected):
    assert parse_vectors(value) == expected


@pytest.mark.parametrize(
    "value", [None, 3, "1", {}, [], [[1], 2], [[[1]]], [True], ["1"], [None], [2**63]]
)
def test_anything_else_is_refused(value):
    with pytest.raises(ValueError, match="number"):
        parse_vectors(value)
