"""Numbers that nothing further in can hold are refused by their field."""

import json

import pytest

from server.edge.body.numbers import LEAST, MOST, check_numbers
from server.errors import InvalidRequest


@pytest.mark.parametrize("place", ['{"a": %s}', '{"a": [1, %s]}', '{"a": {"b": [{"c": %s}]}}'])
@pytest.mark.parametrize(
    "number", [str(MOST + 1), str(LEAST - 1), "1" + "0" * 400, "1e400", "-1e999"]
)
def test_a_number_beyond_64_bits_is_refused_wherever_it_stands(place, number):
    with pytest.raises(InvalidRequest) as caught:
        check_numbers(json.loads(place % number))
    assert caught.value.param == "a"


@pytest.mark.parametrize("number", [MOST, LEAST, 0, True, 1.5, 1e300, "9" * 400, None])
def test_others_pass(number):
    check_numbers({"a": number, "b": [number], "c": {"d": number}})
    check_numbers({"prompt": [2**70]})
