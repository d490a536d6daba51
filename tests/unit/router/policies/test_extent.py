"""How much a policy may say: judged before anything is made of it, and told."""

import difflib

import pytest
from pydantic import BaseModel

from router.errors import PROBLEMS_SHOWN, InvalidPolicy
from router.policies.config import load_policies, parse_overrides, parse_policy
from router.policies.extent import MAX_VALUES
from router.policies.options import MAX_NAMES


def names(count: int) -> list[str]:
    return [f"a{number}" for number in range(count)]


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def policy(raw: object) -> None:
    parse_policy("mine", raw)


MANY = MAX_NAMES + 1
TOO_MUCH = [
    (policy, {"kind": "fixed", "weights": dict.fromkeys(names(MANY), 1.0)}, "weights"),
    (policy, {"kind": "fixed", "weights": dict.fromkeys(names(40_000), 1.0)}, "weights"),
    (policy, {"kind": "fixed", "weights": names(MANY)}, "weights"),
    (policy, {"kind": "tle", "candidates": {"include": names(MANY)}}, "candidates.include"),
    (policy, {"kind": "tle", "candidates": {"exclude": names(MANY)}}, "candidates.exclude"),
    (policy, {"kind": "tle", "candidates": dict.fromkeys(names(MANY))}, "candidates"),
    (policy, {"kind": "tle", "window": names(MANY)}, "window"),
    (policy, {"kind": "tle", **dict.fromkeys(names(MANY))}, "policies.mine"),
    (policy, {"kind": "tle", "description": nested(100)}, "policies.mine"),
    (policy, {"kind": "tle", "x": [names(MAX_NAMES)] * 10}, "policies.mine"),
    (parse_overrides, {"candidates": {"exclude": names(300_000)}}, "routing.candidates.exclude"),
    (parse_overrides, {"candidates": {"include": names(MANY)}}, "routing.candidates.include"),
    (parse_overrides, {"candidates": names(MANY)}, "routing.candidates"),
    (parse_overrides, {"fallback": names(MANY)}, "routing.fallback"),
    (parse_overrides, {"window": {"part": names(MANY)}}, "routing.window.part"),
    (parse_overrides, dict.fromkeys(names(300_000), 1), "routing"),
    (parse_overrides, {"x": [names(MAX_NAMES)] * 10}, "routing"),
    (parse_overrides, {"top_k": nested(100)}, "routing"),
]


@pytest.mark.parametrize(
    ("read", "raw", "field"),
    TOO_MUCH,
    ids=[f"{number}-{field}" for number, (_, _, field) in enumerate(TOO_MUCH)],
)
def test_more_than_a_policy_needs_is_refused_before_it_is_looked_at(read, raw, field, monkeypatch):
    def never(*_, **__):
        raise AssertionError("no value is to be looked at")

    monkeypatch.setattr(BaseModel, "model_validate", never)
    monkeypatch.setattr(difflib, "get_close_matches", never)
    with pytest.raises(InvalidPolicy) as refused:
        read(raw)
    assert field in refused.value.field
    assert any(str(bound) in str(refused.value) for bound in (MAX_NAMES, MAX_VALUES, 8))


def test_as_much_as_is_allowed_is_taken():
    weights = dict.fromkeys(names(MAX_NAMES), 0.5)
    assert len(parse_policy("mine", {"kind": "fixed", "weights": weights}).named()) == MAX_NAMES
    lists = {"include": names(MAX_NAMES), "exclude": [f"b{n}" for n in range(MAX_NAMES)]}
    mine = parse_policy("mine", {"kind": "tle", "candidates": lists})
    assert mine.candidates.through([*names(3), "b0", "c"]) == ("a0", "a1", "a2")
    assert len(parse_overrides({"candidates": lists}).candidates.exclude) == MAX_NAMES


def test_of_many_faults_the_first_are_told():
    wrong = {"kind": "fixed", "weights": {name.upper(): -1 for name in names(MAX_NAMES)}}
    with pytest.raises(InvalidPolicy) as refused:
        parse_policy("mine", wrong)
    assert f"and {len(refused.value.problems) - PROBLEMS_SHOWN} more" in str(refused.value)
    assert len(str(refused.value)) < 5000


@pytest.mark.parametrize("raw", [{"k" * 10**6: 1}, {"window": {"k" * 10**6: 1}}])
def test_a_long_key_makes_no_long_message(raw):
    with pytest.raises(InvalidPolicy) as refused:
        parse_overrides(raw)
    assert len(str(refused.value)) + len(refused.value.field) < 2000


def test_a_file_has_the_same_bounds(tmp_path):
    file = tmp_path / "policies.yaml"
    weights = ", ".join(f"{name}: 1" for name in names(MANY))
    file.write_text(f"policies:\n  mine: {{kind: fixed, weights: {{{weights}}}}}")
    with pytest.raises(InvalidPolicy, match=f"line 2: policies.mine.weights: has {MANY} entries"):
        load_policies(file)
