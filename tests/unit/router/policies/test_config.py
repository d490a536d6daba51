import re
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml

from router.errors import InvalidPolicy
from router.policies import POLICIES
from router.policies.config import (
    DEFAULT_POLICIES,
    DEFAULT_POLICY,
    RoutingOverrides,
    default_policies,
    load_policies,
    overridden,
    parse_overrides,
    parse_policy,
)
from router.policies.options import NAME_RULE, Candidates, Options, Window


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


@pytest.mark.parametrize(("body", "line", "field", "words"), FAULTS, ids=[f[0] for f in FAULTS])
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


@pytest.mark.parametrize(("text", "line", "field", "words"), FILES, ids=[f[0][:30] for f in FILES])
def test_a_file_that_is_wrong_as_a_whole(written, text, line, field, words):
    with pytest.raises(InvalidPolicy) as caught:
        load_policies(written(text))
    (problem,) = caught.value.problems
    assert (problem.line, caught.value.field, problem.message) == (line, field, words)
    assert str(caught.value) == f"policies.yaml: {problem}"


@pytest.mark.parametrize(("text", "line"), NOT_YAML, ids=[f[0][:30] for f in NOT_YAML])
def test_a_file_that_is_not_yaml(written, text, line):
    with pytest.raises(InvalidPolicy) as caught:
        load_policies(written(text))
    (problem,) = caught.value.problems
    assert (problem.line, problem.field) == (line, "")
    assert problem.message.startswith("is not YAML: ")


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InvalidPolicy, match=r"none\.yaml: cannot be read: No such file") as caught:
        load_policies(tmp_path / "none.yaml")
    assert str(tmp_path) not in str(caught.value)
    (tmp_path / "latin.yaml").write_bytes(b"policies: \xe9")
    with pytest.raises(InvalidPolicy, match="is not UTF-8 text"):
        load_policies(tmp_path / "latin.yaml")


def test_all_faults_of_a_file_are_told_in_order(written):
    text = "policies:\n  a: {kind: tle, top_k: 0, zzz: 1}\n  b: {kind: none}\n  c: {kind: tle}"
    with pytest.raises(InvalidPolicy) as caught:
        load_policies(written(text))
    faults = [(problem.line, problem.field) for problem in caught.value.problems]
    assert faults == [(2, "policies.a.top_k"), (2, "policies.a.zzz"), (3, "policies.b.kind")]


def test_policies_can_share_values_by_yaml_anchors(written):
    text = "policies:\n  a: &a {kind: tle, top_k: 2}\n  b: {<<: *a, top_k: 3}"
    policies = load_policies(written(text))
    assert (policies["a"].top_k, policies["b"].top_k) == (2, 3)


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


def test_a_request_may_change_every_option_but_those_that_say_what_a_policy_is():
    kinds = [Options, *POLICIES.values()]
    every = {name for kind in kinds for name in kind.model_fields}
    fixed = {"description", "kind", "weights", "guard_negative"}
    assert set(RoutingOverrides.model_fields) == every - fixed


def test_an_override_is_of_its_options_type_or_left_out():
    of_kinds = [get_type_hints(kind) for kind in POLICIES.values()]
    types = get_type_hints(RoutingOverrides)
    for name, field in RoutingOverrides.model_fields.items():
        assert field.default is None
        assert {of[name] | None for of in of_kinds if name in of} == {types[name]}, name


def test_overrides_make_another_policy_and_version():
    policy = default_policies()["auto"]
    changed = overridden(policy, RoutingOverrides(temperature=0.5, top_k=1, window=Window()))
    assert (changed.temperature, changed.top_k) == (0.5, 1)
    assert changed.min_weight == policy.min_weight
    assert changed.version != policy.version
    assert policy.temperature != 0.5


def test_overrides_that_say_nothing_leave_the_policy_as_it_is():
    policy = default_policies()["tle"]
    assert overridden(policy, RoutingOverrides()) is policy
    assert overridden(policy, parse_overrides({"top_k": None})) is policy
    same = overridden(policy, RoutingOverrides(temperature=1.0))
    assert same.version == policy.version


@pytest.mark.parametrize(
    ("kind", "raw", "field", "words"),
    [
        ("tle", {"temprature": 1}, "routing.temprature", "did you mean 'temperature'?"),
        ("tle", {"kind": "nearest"}, "routing.kind", "there is no option 'kind'"),
        ("tle", {"top_k": "2"}, "routing.top_k", "whole number (got '2')"),
        ("tle", {"top_k": 0}, "routing.top_k", "must be at least 1"),
        ("tle", {"scope": "always"}, "routing.scope", "'prompt', 'token' or 'recompute'"),
        ("uniform", {"scope": "recompute"}, "routing.scope", "'scope' means nothing"),
        ("tle", {"combination": "svd"}, "routing.combination", "'cat', 'linear'"),
        ("tle", {"candidates": {"include": ["A!"]}}, "routing.candidates.include.0", "a name"),
        ("tle", {"window": "middle"}, "routing.window.part", "'head', 'tail'"),
        ("nearest", {"temperature": 1.0}, "routing.temperature", "of kind 'nearest'"),
        ("softmax", {"max_temperature": 4.0}, "routing.max_temperature", "of kind 'softmax'"),
        ("uniform", {"threshold": 0.1}, "routing.threshold", "'threshold' means nothing"),
        ("tle", [1], "routing", "must be an object"),
    ],
)
def test_overrides_that_do_not_fit_are_refused(kind, raw, field, words):
    with pytest.raises(InvalidPolicy) as caught:
        overridden(POLICIES[kind](), parse_overrides(raw))
    assert caught.value.field == field
    assert caught.value.line is None
    assert words in str(caught.value)


def test_loris_preset_has_the_published_weights():
    policies = load_policies(Path("lori"))
    assert policies["auto"] == default_policies()["auto"]
    weights = {
        name: set(policy.weights.values()) for name, policy in policies.items() if name != "auto"
    }
    assert weights == {"lori-d-3": {0.5}, "lori-d-4": {0.4}, "lori-s-3": {0.4}, "lori-s-4": {0.3}}
    assert [len(policies[name].weights) for name in weights] == [3, 4, 3, 4]


def test_a_file_of_a_presets_name_wins(tmp_path, monkeypatch):
    (tmp_path / "lori").write_text("policies: {mine: {kind: uniform}}")
    monkeypatch.chdir(tmp_path)
    assert list(load_policies(Path("lori"))) == ["mine"]
