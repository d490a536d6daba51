"""Values are counted before they are parsed; what stands in a text is none."""

import json
import string
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.edge.body import json_size
from server.edge.body.json_body import parse_object
from server.edge.body.json_size import MOST_BRACKETS, MOST_FIELDS, MOST_VALUES, check_size
from server.edge.body.large_bodies import LARGE, read_beside
from server.errors import BodyTooLarge

VALUES = st.recursive(
    st.none() | st.integers() | st.text(alphabet=string.printable + "é\u6f22"),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.text(alphabet='ab\\",[{:'), inner, max_size=6)
    ),
    max_leaves=30,
)


def fields(value: object) -> int:
    """Fields of all objects of a value."""
    if isinstance(value, dict):
        return len(value) + sum(map(fields, value.values()))
    return sum(map(fields, value)) if isinstance(value, list) else 0


def marks(value: object) -> tuple[int, int]:
    """Objects and lists of a value; and those with all that they hold but the first."""
    if not isinstance(value, dict | list):
        return 0, 0
    inner = [marks(one) for one in (value.values() if isinstance(value, dict) else value)]
    brackets = 1 + sum(one for one, _ in inner)
    commas = max(0, len(value) - 1) + sum(both - one for one, both in inner)
    return brackets, brackets + commas


@pytest.mark.parametrize("separators", [(",", ":"), (" ,\n", " : ")])
@pytest.mark.parametrize("ascii_only", [True, False])
@given(value=VALUES)
def test_the_count_is_exact(value, separators, ascii_only):
    raw = json.dumps(value, separators=separators, ensure_ascii=ascii_only).encode()
    outside = json_size._outside_strings(raw)
    assert outside is not None
    brackets = outside.count(b"[") + outside.count(b"{")
    assert (brackets, brackets + outside.count(b",")) == marks(value)
    assert outside.count(b":") == fields(value)


def listed(item: str, count: int) -> bytes:
    return f'{{"a": [{",".join([item] * count)}]}}'.encode()


@pytest.mark.parametrize("item", ["1", '"a"', '"a,["', '"\\\\"', '"\\""', "null", "-1e3"])
def test_values_are_bounded_whatever_they_are(item):
    check_size(listed(item, MOST_VALUES - 1))
    with pytest.raises(BodyTooLarge, match="at most"):
        check_size(listed(item, MOST_VALUES + 1))


@pytest.mark.parametrize("item", ["[]", "{}", "[1]", '{"a":1}'])
def test_objects_and_lists_are_bounded_more_narrowly(item):
    check_size(listed(item, MOST_BRACKETS - 2))
    with pytest.raises(BodyTooLarge, match="at most"):
        check_size(listed(item, MOST_BRACKETS + 1))


@pytest.mark.parametrize("name", ["", "a", "a:b", '\\"', "\\\\"])
def test_fields_are_bounded_more_narrowly(name):
    def with_fields(count: int) -> bytes:
        return ("{" + ",".join(f'"{name}{one}":1' for one in range(count)) + "}").encode()

    check_size(with_fields(MOST_FIELDS))
    with pytest.raises(BodyTooLarge, match="at most"):
        check_size(with_fields(MOST_FIELDS + 1))


@pytest.mark.parametrize("text", ["[", "{", ",", ":", '\\",', "\\\\", '\\\\\\",[', "]},{["])
def test_a_text_is_one_value_whatever_it_holds(text):
    raw = f'{{"a": "{text * MOST_VALUES}", "b": [1, 2]}}'.encode()
    check_size(raw)
    assert parse_object(raw)["b"] == [1, 2]


@pytest.mark.parametrize("raw", [b'{"a": "', b'"', b"\\", b'{"a": \\" "b": [', b"\xff" * 9])
def test_what_ends_early_is_left_to_the_parser(raw):
    check_size(raw + b"[," * 10)


def test_what_is_large_is_read_in_another_thread():
    import asyncio

    async def where(size: int) -> int:
        return await read_beside(size, threading.get_ident)

    here = threading.get_ident()
    assert asyncio.run(where(LARGE)) == here
    assert asyncio.run(where(LARGE + 1)) != here
