import re
from pathlib import Path

import pytest
import yaml

from router.errors import InvalidPolicy
from router.policies import POLICIES, config
from router.policies.config import (
    DEFAULT_POLICIES,
    DEFAULT_POLICY,
    check_policy_name,
    default_policies,
    load_policies,
    parse_policy,
)
from router.policies.options import NAME_RULE, Candidates, Options, Window
from router.policies.yaml_lines import LineMap, read_yaml


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "policies.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_bundled_file_has_the_default_policy():
    policies = default_policies()
    assert DEFAULT_POLICY in policies
    assert {"tle", "nearest", "uniform"} <= set(policies)
    assert policies["tle"].guard_negative


def test_the_bundled_files_commented_examples_are_valid():
    examples = re.sub(r"(?m)^  # ( *[a-z_]+:)", r"  \1", DEFAULT_POLICIES.read_text("utf-8"))
    policies = {
        name: parse_policy(name, raw) for name, raw in yaml.safe_load(examples)["policies"].items()
    }
    assert policies["lori"].weights == {"maths": 0.3, "science": 0.3, "code": 0.3}
    assert policies["careful"].threshold == 0.25
    assert policies["careful"].candidates.exclude == ("code",)


def test_the_snippets_of_the_guide_are_valid(written):
    guide = Path("docs/policies.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    assert len(snippets) >= 6
    for snippet in snippets:
        text = snippet if snippet.startswith("policies:") else f"policies:\n{snippet}"
        assert load_policies(written(text))
    assert all(f"`{kind}`" in guide for kind in POLICIES)
    assert all(f"`{option}`" in guide for option in Options.model_fields)


def test_every_option_can_be_written(written):
    path = written(
        """
policies:
  mine:
    kind: softmax
    description: All options there are.
    temperature: 0.1
    candidates: {include: [maths, code], exclude: [science]}
    window: {part: tail, pieces: 128}
    threshold: 0.2
    fallback: uniform
    top_k: 2
    min_weight: 0.05
    base_share: 0.25
    combination: linear
    scope: prompt
    stride: 2
"""
    )
    policy = load_policies(path)["mine"]
    assert policy.candidates == Candidates(include=("maths", "code"), exclude=("science",))
    assert policy.window == Window(part="tail", pieces=128)
    assert (policy.threshold, policy.fallback, policy.top_k) == (0.2, "uniform", 2)
    assert (policy.min_weight, policy.base_share, policy.combination) == (0.05, 0.25, "linear")
    assert (policy.scope, policy.stride, policy.temperature) == ("prompt", 2, 0.1)


KINDS = "fixed, nearest, softmax, tle, uniform"
COMMON = (
    "description, candidates, window, threshold, fallback, top_k, min_weight, base_share,"
    " combination, scope, stride, encoder, kind"
)

# (body of policy `mine`, line of the fault, its field after `policies.mine`, the message)
FAULTS = [
    (
        "kind: sofmax",
        3,
        ".kind",
        "'sofmax' is unknown; known kinds: fixed, nearest, softmax, tle, uniform",
    ),
    ("top_k: 2", 2, ".kind", "is missing; known kinds: fixed, nearest, softmax, tle, uniform"),
    (
        "kind: tle\n    temprature: 1",
        4,
        ".temprature",
        "there is no option 'temprature' of kind 'tle'; did you mean 'temperature'?",
    ),
    (
        "kind: nearest\n    temperature: 1",
        4,
        ".temperature",
        f"there is no option 'temperature' of kind 'nearest'; there are: {COMMON}",
    ),
    (
        "kind: tle\n    zzz: 1",
        4,
        ".zzz",
        f"there is no option 'zzz' of kind 'tle'; there are: {COMMON}, max_temperature,"
        " temperature, guard_negative",
    ),
    ("kind: tle\n    temperature: 0", 4, ".temperature", "must be at least 0.000001 (got 0)"),
    (
        "kind: softmax\n    temperature: .nan",
        4,
        ".temperature",
        "must be a finite number (got nan)",
    ),
    ("kind: softmax\n    temperature: warm", 4, ".temperature", "must be a number (got 'warm')"),
    ("kind: softmax\n    temperature: true", 4, ".temperature", "must be a number (got True)"),
    ("kind: tle\n    max_temperature: 0.5", 4, ".max_temperature", "must be at least 1 (got 0.5)"),
    ("kind: tle\n    guard_negative: 3", 4, ".guard_negative", "must be true or false (got 3)"),
    ("kind: tle\n    top_k: 0", 4, ".top_k", "must be at least 1 (got 0)"),
    ("kind: tle\n    top_k: 1.5", 4, ".top_k", "must be a whole number (got 1.5)"),
    ("kind: tle\n    min_weight: 1", 4, ".min_weight", "must be less than 1 (got 1)"),
    ("kind: tle\n    base_share: -0.1", 4, ".base_share", "must be at least 0 (got -0.1)"),
    ("kind: tle\n    threshold: 2", 4, ".threshold", "must be at most 1 (got 2)"),
    (
        "kind: tle\n    fallback: No One",
        4,
        ".fallback",
        f"a name must be {NAME_RULE} (got 'No One')",
    ),
    (
        "kind: tle\n    combination: ties",
        4,
        ".combination",
        "must be 'cat', 'linear' or 'linear_peft04' (got 'ties')",
    ),
    (
        "kind: tle\n    scope: always",
        4,
        ".scope",
        "must be 'prompt', 'token' or 'recompute' (got 'always')",
    ),
    (
        "kind: uniform\n    scope: token",
        4,
        ".scope",
        "'scope' means nothing for kind 'uniform'; take it out",
    ),
    ("kind: tle\n    stride: 0", 4, ".stride", "must be at least 1 (got 0)"),
    (
        "kind: tle\n    window: middle",
        4,
        ".window.part",
        "must be 'head', 'tail', 'last_message', 'conversation' or 'whole' (got 'middle')",
    ),
    (
        "kind: tle\n    window:\n      part: head\n      pieces: 0",
        6,
        ".window.pieces",
        "must be at least 1 (got 0)",
    ),
    (
        "kind: tle\n    window: {peaces: 3}",
        4,
        ".window.peaces",
        "there is no option 'peaces'; did you mean 'pieces'?",
    ),
    ("kind: tle\n    window: 7", 4, ".window", "must be an object (got 7)"),
    (
        "kind: tle\n    candidates:\n      only: [a]",
        5,
        ".candidates.only",
        "there is no option 'only'; there are: include, exclude",
    ),
    (
        "kind: tle\n    candidates:\n      include: []",
        5,
        ".candidates.include",
        "must have at least 1 item (got [])",
    ),
    (
        "kind: tle\n    candidates:\n      include:\n        - ok\n        - N.O",
        7,
        ".candidates.include.1",
        f"a name must be {NAME_RULE} (got 'N.O')",
    ),
    (
        "kind: tle\n    candidates: {include: [a, b], exclude: [b]}",
        4,
        ".candidates",
        "include and exclude 'b' at once",
    ),
    (
        "kind: tle\n    description: 'a\u200bb'",
        4,
        ".description",
        "holds the character \\u200b, which cannot be seen; take it out",
    ),
    ("kind: fixed", 2, ".weights", "is missing"),
    ("kind: fixed\n    weights: {}", 4, ".weights", "must have at least 1 item (got {})"),
    ("kind: fixed\n    weights: {a: 0}", 4, ".weights", "at least one weight must be above 0"),
    (
        "kind: fixed\n    weights:\n      a: 1\n      b: -1",
        6,
        ".weights.b",
        "must be at least 0 (got -1)",
    ),
    (
        "kind: fixed\n    weights:\n      a: .inf",
        5,
        ".weights.a",
        "must be a finite number (got inf)",
    ),
    (
        "kind: fixed\n    weights: {a: 1}\n    top_k: 1",
        5,
        ".top_k",
        "'top_k' means nothing for kind 'fixed'; take it out",
    ),
    (
        "kind: fixed\n    weights:\n      a: 1\n      B c: 1",
        6,
        ".weights.B c",
        f"a name must be {NAME_RULE} (got 'B c')",
    ),
    (
        "kind: fixed\n    weights: {no: 1}",
        4,
        ".weights.0",
        "must be text; put it in quotes (got False)",
    ),
    (
        "kind: uniform\n    threshold: 0.1",
        4,
        ".threshold",
        "'threshold' means nothing for kind 'uniform'; take it out",
    ),
    (
        "kind: uniform\n    window: head",
        4,
        ".window",
        "'window' means nothing for kind 'uniform'; take it out",
    ),
]


@pytest.mark.parametrize(("body", "line", "field", "words"), FAULTS, ids=range(len(FAULTS)))
def test_a_fault_is_told_with_its_line_and_field(written, body, line, field, words):
    with pytest.raises(InvalidPolicy) as caught:
        load_policies(written(f"policies:\n  mine:\n    {body}\n"))
    assert caught.value.line == line
    assert caught.value.field == f"policies.mine{field}"
    assert str(caught.value) == f"policies.yaml: line {line}: policies.mine{field}: {words}"


FILES = [
    ("", None, None, "the file is empty"),
    ("# nothing\n", None, None, "the file is empty"),
    ("[]", 1, None, "the file must hold one mapping 'policies', name by name"),
    ("auto: {kind: tle}", 1, None, "the file must hold one mapping 'policies', name by name"),
    ("policies: []", 1, None, "the file must hold one mapping 'policies', name by name"),
    ("policies: {}", 1, "policies", "there must be at least one policy"),
    (
        "policies:\n  a: {kind: tle}\ndefault: a",
        3,
        "default",
        "unknown key; the file holds only 'policies'",
    ),
    ("policies:\n  a: tle", 2, "policies.a", "must be a mapping of options, beginning with 'kind'"),
    (
        "policies:\n  Bad Name: {kind: tle}",
        2,
        "policies.Bad Name",
        f"a policy's name must be {NAME_RULE}",
    ),
    (
        "policies:\n  base: {kind: tle}",
        2,
        "policies.base",
        "'base' is reserved; choose another name",
    ),
    (
        "policies:\n  a:\n    kind: tle\n    kind: nearest",
        4,
        None,
        "is not YAML: the key 'kind' stands twice in one mapping",
    ),
    (
        "policies:\n  a: {kind: tle}\n  a: {kind: tle}",
        3,
        None,
        "is not YAML: the key 'a' stands twice in one mapping",
    ),
    (
        "policies: &p\n  a: *p",
        None,
        None,
        "is nested too deeply, or within itself; 32 levels are read at most",
    ),
    (
        "a: " + "[" * 800,
        None,
        None,
        "is nested too deeply, or within itself; 32 levels are read at most",
    ),
]

NOT_YAML = [
    ("policies:\n  a: {kind: tle", 2),
    ("policies:\n  a: !!python/object:os.system {}", 2),
    ("policies:\n\ta: {}", 2),
    ("policies: \x07", None),
    ("policies: {a: {kind: tle}}\n---\npolicies: {}", 2),
]


@pytest.mark.parametrize(("text", "line", "field", "words"), FILES, ids=range(len(FILES)))
def test_a_file_that_is_wrong_as_a_whole(written, text, line, field, words):
    with pytest.raises(InvalidPolicy) as caught:
        load_policies(written(text))
    (problem,) = caught.value.problems
    assert (problem.line, problem.field, problem.message) == (line, field or "", words)
    assert caught.value.field == field
    assert str(caught.value) == f"policies.yaml: {problem}"


@pytest.mark.parametrize(("text", "line"), NOT_YAML, ids=range(len(NOT_YAML)))
def test_a_file_that_is_not_yaml(written, text, line):
    with pytest.raises(InvalidPolicy) as caught:
        load_policies(written(text))
    (problem,) = caught.value.problems
    assert (problem.line, problem.field) == (line, "")
    assert problem.message.startswith("is not YAML: ")


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InvalidPolicy) as caught:
        load_policies(tmp_path / "none.yaml")
    assert str(caught.value) == "none.yaml: cannot be read: No such file or directory"
    assert caught.value.problems[0].field == ""
    (tmp_path / "latin.yaml").write_bytes(b"policies: \xe9")
    with pytest.raises(InvalidPolicy, match=r"^latin\.yaml: is not UTF-8 text$"):
        load_policies(tmp_path / "latin.yaml")


def test_a_file_whose_system_says_nothing_is_told_by_the_kind_of_fault(tmp_path, monkeypatch):
    def refuse(path):
        raise TimeoutError

    monkeypatch.setattr("router.policies.yaml_lines.read_text", refuse)
    with pytest.raises(InvalidPolicy, match=r"^a\.yaml: cannot be read: TimeoutError$"):
        load_policies(tmp_path / "a.yaml")


def test_all_faults_of_a_file_are_told_in_order(written):
    text = "policies:\n  a: {kind: tle, top_k: 0, zzz: 1}\n  b: {kind: none}\n  c: {kind: tle}"
    with pytest.raises(InvalidPolicy) as caught:
        load_policies(written(text))
    faults = [(problem.line, problem.field) for problem in caught.value.problems]
    assert faults == [(2, "policies.a.top_k"), (2, "policies.a.zzz"), (3, "policies.b.kind")]


def test_faults_are_told_by_their_line_wherever_they_are_found(written):
    text = "policies:\n  a: {kind: none}\nextra: 1\nmore: 2\n"
    with pytest.raises(InvalidPolicy) as caught:
        load_policies(written(text))
    assert [problem.line for problem in caught.value.problems] == [2, 3, 4]
    assert str(caught.value) == (
        "policies.yaml: line 2: policies.a.kind: 'none' is unknown; known kinds: fixed, nearest,"
        " softmax, tle, uniform; line 3: extra: unknown key; the file holds only 'policies';"
        " line 4: more: unknown key; the file holds only 'policies'"
    )


@pytest.mark.parametrize(
    ("name", "raw", "field", "words"),
    [
        ("Bad", {"kind": "tle"}, "name", f"a policy's name must be {NAME_RULE}"),
        ("base", {"kind": "tle"}, "name", "'base' is reserved; choose another name"),
        ("mine", 7, "body", "must be a mapping of options, beginning with 'kind'"),
        ("mine", {"kind": "tle", "top_k": 0}, "body.top_k", "must be at least 1 (got 0)"),
        ("mine", {"kind": ["tle"]}, "body.kind", f"['tle'] is unknown; known kinds: {KINDS}"),
        (
            "mine",
            {"kind": "tle", "x": [0] * 1025},
            "body.x",
            "has 1025 entries; at most 1024 are read",
        ),
    ],
)
def test_a_policy_of_a_request_is_told_where_it_stands_there(name, raw, field, words):
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(name, raw, at=("body",))
    assert str(caught.value) == f"{field}: {words}"


def test_a_policy_is_told_by_its_name_where_nothing_else_is_said():
    with pytest.raises(InvalidPolicy, match=r"^policies\.Bad: a policy's name must be 1 to 64"):
        parse_policy("Bad", {"kind": "tle"})
    with pytest.raises(InvalidPolicy, match=r"^policies\.text: 'text' is reserved"):
        check_policy_name("text")
    with pytest.raises(InvalidPolicy, match=r"^policies\.mine\.top_k: must be at least 1"):
        parse_policy("mine", {"kind": "tle", "top_k": 0})


def test_policies_can_share_values_by_yaml_anchors(written):
    text = "policies:\n  a: &a {kind: tle, top_k: 2}\n  b: {<<: *a, top_k: 3}"
    policies = load_policies(written(text))
    assert (policies["a"].top_k, policies["b"].top_k) == (2, 3)
    text = "policies:\n  a: &a {kind: tle}\n  b: &b {top_k: 3}\n  c: {<<: *a, <<: *b}"
    assert load_policies(written(text.replace("b: &b {", "b: &b {kind: tle, ")))["c"].top_k == 3


def test_versions_are_equal_for_equal_policies_only():
    first = parse_policy("a", {"kind": "softmax", "temperature": 0.1})
    again = parse_policy("b", {"temperature": 0.1, "kind": "softmax", "description": "words"})
    other = parse_policy("a", {"kind": "softmax", "temperature": 0.2})
    assert first.version == again.version != other.version
    assert len(first.version) == 12
    tle = parse_policy("a", {"kind": "tle"})
    assert tle.version == parse_policy("a", {"kind": "tle", "top_k": None}).version


def test_a_version_stays_the_same_from_one_start_to_the_next():
    assert parse_policy("a", {"kind": "nearest"}).version == "9e1c68630a12"


def test_a_fault_of_a_new_kind_is_told_all_the_same():
    fault = {"type": "of_a_later_pydantic", "loc": ("top_k",), "input": 3, "msg": "?"}
    assert config._message(fault, Options, None) == "has no sensible value (got 3)"


def hidden() -> dict[str, object]:
    return {
        "kind": "fixed",
        "description": "words",
        "weights": {"a": 1.0, "b": 0.5, "c": 0.0},
    }


def test_options_are_told_without_adapters_that_nobody_is_to_know_of():
    lists = {"include": ["a", "b"], "exclude": ["c", "d"]}
    listing = parse_policy("p", {"kind": "tle", "candidates": lists})
    assert listing.options_among(None)["candidates"] == lists
    assert listing.options_among({"b", "c", "x"}) == {
        **listing.options_among(None),
        "candidates": {"include": ["b"], "exclude": ["c"]},
    }
    plain = parse_policy("p", {"kind": "tle"})
    assert plain.options_among(()) == plain.options_among(None)
    assert plain.options_among(())["candidates"] == {"include": None, "exclude": []}
    merge = parse_policy("p", hidden())
    assert merge.options_among(None)["weights"] == hidden()["weights"]
    assert merge.options_among({"a", "c"})["weights"] == {"a": 1.0, "c": 0.0}
    assert merge.options_among(())["description"] == "words"


def test_a_version_among_some_adapters_hangs_on_those_alone():
    merge = parse_policy("p", hidden())
    other = parse_policy("p", {**hidden(), "weights": {"a": 1.0, "z": 0.5}})
    assert merge.version == merge.version_among(None) != other.version
    assert merge.version_among({"a"}) == other.version_among({"a"})
    assert merge.version_among({"a", "b"}) != other.version_among({"a", "b"})
    again = parse_policy("p", {**hidden(), "description": "other words"})
    assert again.version == merge.version
    assert again.version_among({"b"}) == merge.version_among({"b"})
    assert re.fullmatch("[0-9a-f]{12}", merge.version_among({"a"}))


def test_a_value_stands_on_the_line_of_what_is_nearest_around_it():
    lines = LineMap({"": 1, "a": 2, "a.b": 3, "a.b.0": 4})
    asked = ("a.b.0", "a.b.7", "a.x.y", "z", "")
    assert [lines.line_of(path) for path in asked] == [4, 3, 2, 1, 1]
    assert LineMap({}).line_of("a.b") is None
    assert LineMap.path(("a", 0, "b c")) == "a.0.b c"


def test_a_file_tells_the_line_of_every_value(written):
    text = "# words\na:\n  - 1\n  - b: 2\n    c:\n      3\nd: {e: 4,\n  f: 5}\n"
    content, lines = read_yaml(written(text))
    assert content == {"a": [1, {"b": 2, "c": 3}], "d": {"e": 4, "f": 5}}
    assert lines.lines == {
        **{"": 2, "a": 2, "a.0": 3, "a.1": 4, "a.1.b": 4, "a.1.c": 5},
        **{"d": 7, "d.e": 7, "d.f": 8},
    }


def test_a_long_key_that_stands_twice_is_shown_by_its_beginning(written):
    key = "k" * 65
    with pytest.raises(InvalidPolicy) as caught:
        read_yaml(written(f"{key}: 1\n{key}: 2\n"))
    assert str(caught.value) == (
        f"policies.yaml: line 2: is not YAML: the key '{'k' * 64}' stands twice in one mapping"
    )
