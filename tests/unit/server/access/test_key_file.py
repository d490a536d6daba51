"""The file of keys that the settings name: one a line, or a refusal that says what is wrong."""

import pytest

from server.access.key_file import read_key_file
from server.errors import InvalidSettings


def test_every_line_is_a_key_but_empty_ones_and_comments(tmp_path):
    path = tmp_path / "keys"
    path.write_text("# of the team\n one \n\n\t\ntwo#2\n  # and more\n", "utf-8")
    assert read_key_file(path) == ("one", "two#2")


NO_KEY = "has a line that is not a key: a key is an ASCII word without spaces"
UNREADABLE = "cannot be read; it must be a text file with one key a line"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no key"),
        (b"# none\n\n", "holds no key"),
        (b"one\ntwo words\n", NO_KEY),
        ("schlüssel\n".encode(), NO_KEY),
        (b"\xff\xfe", UNREADABLE),
        (None, UNREADABLE),
    ],
)
def test_a_file_without_usable_keys_is_refused(tmp_path, content, words):
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidSettings) as refused:
        read_key_file(path)
    assert str(refused.value) == f"the API key file {path} {words}"
