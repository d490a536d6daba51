"""Text of strangers: what is shown of it, and what is refused."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.printable import (
    hidden_character,
    printable,
    printable_json,
    printable_lines,
)
from tests.support.hostile_text import HOSTILE, commands_in

DANGEROUS = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_no_character_of_a_dangerous_category_is_let_through():
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    dangerous = [one for one in every if unicodedata.category(one) in DANGEROUS]
    assert len(dangerous) > 2000
    assert [one for one in dangerous if one in printable(one)] == []
    let_through = [one for one in dangerous if one in printable_lines(one)]
    assert let_through == ["\t", "\n"]


def test_what_is_seen_stays():
    """Letters, marks, numbers, signs and blanks of every script, and code points of no known use:
    an emoji that is newer than Python's tables must not be torn."""
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    unseen = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
    changed = [
        one
        for one in every
        if unicodedata.category(one) not in DANGEROUS
        and one not in unseen
        and not 0xFE00 <= ord(one) <= 0xFE0F
        and not 0xFFF0 <= ord(one) <= 0xFFF8
        and not 0x2060 <= ord(one) <= 0x206F
        and not 0xE0000 <= ord(one) <= 0xE0FFF
        and not 0x13430 <= ord(one) <= 0x1345F
        and printable(one) != one
    ]
    assert changed == []


@given(st.text(st.sampled_from([*HOSTILE, "a", "é", "\r", "\t"])), st.data())
def test_it_does_not_matter_where_a_text_is_cut(text, data):
    at = data.draw(st.integers(0, len(text)))
    for shown in (printable, printable_lines):
        assert shown(text[:at]) + shown(text[at:]) == shown(text)
        assert commands_in(shown(text)) == set()
        assert shown(shown(text)) == shown(text)


def test_one_line_stays_one_line():
    assert printable("a\nb\tc\rd\x1b[2J\u202e") == r"a\nb\tc\rd\x1b[2J\u202e"
    assert printable_lines("a\r\nb\tc\x1b") == "a\nb\tc\\x1b"
    assert (
        printable("fam\u00adily \U0001f469\u200d\U0001f4bb\ufe0f") == "family \U0001f469\U0001f4bb"
    )
    assert printable("\U000e0041") == r"\U000e0041"


@given(st.recursive(st.text() | st.sampled_from([HOSTILE, 1, None]), st.lists, max_leaves=5))
def test_json_reads_back_as_it_was(value):
    document = {"a": value, HOSTILE: [value]}
    written = printable_json(document)
    assert json.loads(written) == document
    assert commands_in(written) == set()


@pytest.mark.parametrize("character", sorted(set(HOSTILE) & {c for c in HOSTILE if commands_in(c)}))
def test_names_and_descriptions_may_hold_no_hidden_character(character):
    shapes_its_neighbours = character in "\u00ad\u200c\u200d\ufe0f"
    found = hidden_character(f"a {character} b")
    allowed = shapes_its_neighbours or character == "\r"
    assert (found is None) is allowed
    assert found is None or commands_in(found) == set()


def test_descriptions_may_have_lines_and_any_letters():
    assert hidden_character("Sums:\n\tadd, \r\n multiply. Größe 你好 🙂\u200d") is None
    assert hidden_character("") is None
