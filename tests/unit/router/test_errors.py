import re

from router import errors
from router.errors import InvalidPolicy, Problem, RoutingError, listed


def subclasses(of):
    return {of, *(deep for child in of.__subclasses__() for deep in subclasses(child))}


def test_every_error_has_a_code_of_its_own():
    found = subclasses(RoutingError)
    codes = [error.code for error in found]
    assert len(found) >= 11
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)
    assert all(error.__module__ == errors.__name__ and error.__doc__ for error in found)


def test_long_lists_of_names_are_cut_short():
    assert listed([]) == "none"
    assert listed(["b", "a"]) == "a, b"
    assert listed(f"n{i:02}" for i in range(15)).endswith("n11 and 3 more")


def test_a_problem_says_line_field_and_message():
    assert str(Problem("a.b", "is wrong", 7)) == "line 7: a.b: is wrong"
    assert str(Problem("", "is empty")) == "is empty"
    error = InvalidPolicy([Problem("a", "x", 1), Problem("b", "y", 2)], source="p.yaml")
    assert str(error) == "p.yaml: line 1: a: x; line 2: b: y"
    assert (error.field, error.line) == ("a", 1)
