"""JSON of strangers: what is not taken, and how that is told."""

from pathlib import Path

import pytest

from adapters.errors import MalformedFile, TooLarge
from adapters.format.strict_json import parse_json_object, read_json_object


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff{}", "is not UTF-8 text"),
        (b"{", "is not valid JSON: Expecting property name enclosed in double quotes (line 1)"),
        (b'{"a":\n\n,}', "is not valid JSON: Expecting value (line 3)"),
        (b"[]", "must be a JSON object, not list"),
        (b"null", "must be a JSON object, not NoneType"),
        (b'{"a": ' * 100_000, "is nested too deeply"),
        (b'{"a": 1, "b": 2, "a": 3}', "is not acceptable JSON: the key 'a' appears twice"),
        (b'{"x": {"b": 1, "b": 1}}', "is not acceptable JSON: the key 'b' appears twice"),
        (b'{"a": NaN}', "is not acceptable JSON: NaN is not a number in JSON"),
        (b'{"a": [-Infinity]}', "is not acceptable JSON: -Infinity is not a number in JSON"),
    ],
)
def test_what_is_no_object_of_json_is_told_with_its_source(content: bytes, words: str) -> None:
    with pytest.raises(MalformedFile) as caught:
        parse_json_object(content, "the note")
    assert str(caught.value) == f"the note {words}"


def test_an_object_is_what_it_says() -> None:
    content = '{"ä": [1, 2.5, null, true], "b": {"ä": ""}}'.encode()
    assert parse_json_object(content, "it") == {"ä": [1, 2.5, None, True], "b": {"ä": ""}}


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    file = tmp_path / "note.json"
    file.write_bytes(b'{"a": 1}')
    assert read_json_object(file, 8) == {"a": 1}
    with pytest.raises(TooLarge) as caught:
        read_json_object(file, 7)
    assert str(caught.value) == "note.json is larger than 7 bytes"
    file.write_bytes(b"{")
    with pytest.raises(MalformedFile, match=r"^note\.json is not valid JSON"):
        read_json_object(file, 8)
