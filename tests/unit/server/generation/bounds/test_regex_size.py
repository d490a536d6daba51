"""A regex counts by what its repetitions make of it."""

import pytest

from server.generation.bounds.regex_size import LARGEST, regex_size, written_number

SIZES = {
    "": 0,
    "abc": 3,
    "a|bc": 3,
    "a+b*c?": 3,
    r"\d\{3\}": 4,
    "[a-z0-9]": 1,
    r"[\]{3}]": 1,
    "[abc": 4,
    "a{5}": 5,
    "a{2,7}": 7,
    "a{3,}": 3,
    "a{,4}": 4,
    "a{0,1}": 1,
    "a{}": 2,
    "a{x}": 4,
    "[a-z]{1,200}x": 201,
    "(ab){3,}": 6,
    "x(ab){3}y": 8,
    "(a{1,100}){50}": 5000,
    "((a{1,30}){1,30}){1,30}": 27_000,
    "(?:ab|c){4}": 16,
    "a{2}{3}": 6,
    "(a{9}": 9,
    "(((a": 1,
    "a)b": 3,
    "a{99999999999999999999}": LARGEST,
    "(a{1000000}){1000000}": LARGEST,
}


@pytest.mark.parametrize("pattern", SIZES, ids=str)
def test_the_size_counts_what_is_written_out(pattern):
    assert regex_size(pattern) == SIZES[pattern]


def test_numbers_of_any_length_are_read():
    assert written_number("") == written_number("000") == 0
    assert written_number("0" * 50_000 + "12") == 12
    assert written_number("9" * 50_000) == LARGEST


@pytest.mark.parametrize("part", ["[", "(", "{", "{1", "\\", "[\\", "1,", "{,", ")", "~", "[^]"])
def test_no_step_of_reading_goes_back(part):
    """Reading is linear, or this would never end."""
    assert regex_size(part * 30_000) >= 0
