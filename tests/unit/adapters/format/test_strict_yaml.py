"""YAML within a budget: what a few lines stand for is counted before it is made."""

import pytest
import yaml

from adapters.format.strict_yaml import (
    MAX_BYTES,
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_VALUES,
    BadYaml,
    composed,
    load,
    read_text,
)


def lists_of_lists(levels: int) -> str:
    """Each anchor is a list of ten aliases of the one before: 10^levels values."""
    lines = ["a0: &a0 [1]"]
    for level in range(1, levels + 1):
        aliases = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{aliases}]")
    return "\n".join(lines)


def merges_of_merges(levels: int) -> str:
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, levels + 1):
        aliases = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} {{<<: [{aliases}]}}")
    return "\n".join(lines)


def chain(levels: int) -> str:
    lines = ["a0: &a0 [1]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, levels + 1))]
    return "\n".join(lines)


TOO_MUCH = {
    "aliases of aliases": (lists_of_lists(12), "stands for more than"),
    "merges of merges": (merges_of_merges(12), "stands for more than"),
    "many values": ("x: [" + "1, " * MAX_VALUES + "1]", "stands for more than"),
    "many keys": ("\n".join(f"k{n}: 1" for n in range(MAX_VALUES)), "stands for more than"),
    "deep in brackets": ("x: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "too deeply"),
    "very deep": ("[" * 50_000, "too deeply"),
    "deep in braces": ("{a: " * 50_000, "too deeply"),
    "deep in lines": ("\n".join(" " * n + "a:" for n in range(MAX_DEPTH + 2)), "too deeply"),
    "deep by aliases": (chain(MAX_DEPTH), "too deeply"),
    "a long text": ("x: " + "y" * (MAX_CHARACTERS + 1), "more than"),
    "a long number": ("x: " + "9" * (MAX_CHARACTERS + 1), "more than"),
    "a long key": ("? " + "y" * (MAX_CHARACTERS + 1) + "\n: 1", "more than"),
    "many characters": ("#" * (MAX_BYTES + 1), "the most that"),
    "itself": ("x: &a [*a]", "within itself"),
    "itself as a key": ("&a {? *a : 1}", "no plain text"),
    "a list as a key": ("? [1]\n: 2", "no plain text"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_more_than_the_budget_is_told_and_not_made(name, monkeypatch):
    text, words = TOO_MUCH[name]

    def never(*_):
        raise AssertionError("nothing is to be made of it")

    monkeypatch.setattr(yaml.constructor.SafeConstructor, "construct_document", never)
    with pytest.raises(BadYaml, match=words):
        load(text)


VALUES = [
    *("x: 2024-99-99", "x: 2024-01-01 25:00:00", "x: " + "9" * 5000, "x: !!bool maybe"),
    *("x: !!int ''", "x: !!int a", "x: !!float a", "x: !!timestamp a", "x: !!binary é"),
    *("x: !!set [1]", "x: !!omap [1]", "x: !!pairs 1", "x: !!python/name:os.system ''", "x: !a b"),
]


@pytest.mark.parametrize("text", VALUES)
def test_a_value_that_is_not_what_it_looks_like_is_no_traceback(text):
    with pytest.raises(BadYaml):
        load(text)


@pytest.mark.parametrize("text", ["x: [", "x: 'a", "\tx: 1", "x: \x07", "a: 1\n---\nb: 1", "*a"])
def test_what_is_no_yaml_is_told(text):
    with pytest.raises(BadYaml, match="is not YAML"):
        load(text)


def test_aliases_and_merges_within_the_budget_mean_what_they_mean_in_yaml():
    text = "base: &b {kind: tle, top_k: 2}\none: {<<: *b, top_k: 3}\ntwo: *b"
    assert load(text) == yaml.safe_load(text)
    assert load("") is None
    assert composed("# nothing") is None
    assert len(load(lists_of_lists(3))["a3"]) == 10
    assert load("x: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))
    assert len(load("[" + "1, " * (MAX_VALUES - 2) + "1]")) == MAX_VALUES - 1


def test_of_a_large_file_only_the_beginning_is_read(tmp_path):
    file = tmp_path / "large.yaml"
    with file.open("wb") as made:
        made.truncate(2**40)
    with pytest.raises(BadYaml, match=str(MAX_BYTES)):
        read_text(file)
    file.write_bytes(b"\xff")
    with pytest.raises(BadYaml, match="UTF-8"):
        read_text(file)


DEEP = f"is nested too deeply, or within itself; {MAX_DEPTH} levels are read at most"
MANY = (
    f"stands for more than {MAX_VALUES} values, each alias counted as often as it is used; write "
    "less, or use fewer aliases"
)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "#" * (MAX_BYTES + 1),
            None,
            f"has more than {MAX_BYTES} characters, the most that are read",
        ),
        ("a: 1\nb: [" + "1, " * MAX_VALUES + "1]", 2, MANY),
        ("\n" + lists_of_lists(12), 6, MANY),
        ("a:\n  " + "[" * MAX_DEPTH + "]" * MAX_DEPTH, None, DEEP),
        ("[" * 50_000, None, DEEP),
        (chain(MAX_DEPTH), None, DEEP),
        ("x: &a [*a]", None, DEEP),
        (
            "a: 1\nx: " + "y" * (MAX_CHARACTERS + 1),
            2,
            f"holds a value of more than {MAX_CHARACTERS} characters",
        ),
        ("a: 1\nb:\n  ? [1]\n  : 2", 3, "holds a key that is no plain text"),
        ("a: 1\nb: *c", 2, "is not YAML: found undefined alias 'c'"),
        ("a: 1\nb: c: d", 2, "is not YAML: mapping values are not allowed here"),
        (
            "a: 1\n---\nb: 1",
            2,
            "is not YAML: but found another document",
        ),
        ("x: 2024-99-99", None, "holds a value that cannot be read as what it looks like"),
        ("a: 1\nx: !b c", 2, "is not YAML: could not determine a constructor for the tag '!b'"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_not_read_is_told_with_its_line(text: str, line: int | None, words: str) -> None:
    with pytest.raises(BadYaml) as caught:
        load(text)
    assert str(caught.value) == words
    assert caught.value.line == line


def test_a_character_that_yaml_does_not_take_is_told() -> None:
    with pytest.raises(BadYaml) as caught:
        load("x: \x07")
    assert (
        str(caught.value)
        == "is not YAML: unacceptable character #x0007: special characters are not allowed"
    )
    assert caught.value.line is None


def test_a_text_as_large_as_the_budget_is_read(tmp_path) -> None:
    text = "x: 1\n".ljust(MAX_BYTES, "#")
    file = tmp_path / "text.yaml"
    file.write_text(text)
    assert read_text(file) == text
    assert load(text) == {"x": 1}
    assert load("x: " + "y" * MAX_CHARACTERS) == {"x": "y" * MAX_CHARACTERS}
    file.write_text(text + "#")
    with pytest.raises(BadYaml) as caught:
        read_text(file)
    assert str(caught.value) == f"is larger than {MAX_BYTES} bytes, the most that is read"
    file.write_bytes(b"\xff")
    with pytest.raises(BadYaml) as caught:
        read_text(file)
    assert str(caught.value) == "is not UTF-8 text"


@pytest.mark.parametrize("aliases", [4997, 4998])
def test_what_aliases_stand_for_is_counted_to_the_value(aliases: int) -> None:
    """The document, two keys, two lists, what is in the first; an alias stands for two values."""
    text = "a: &a [1]\nb: [" + ", ".join(["*a"] * aliases) + "]"
    values = 1 + 2 + 2 + 1 + 2 * aliases
    if values <= MAX_VALUES:
        assert len(load(text)["b"]) == aliases
    else:
        with pytest.raises(BadYaml, match="stands for more than"):
            load(text)
