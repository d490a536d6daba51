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
