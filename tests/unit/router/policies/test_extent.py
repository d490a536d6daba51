"""How much a policy may say: judged before anything is made of it, and told."""

import difflib

import pytest
from pydantic import BaseModel

from router.errors import PROBLEMS_SHOWN, InvalidPolicy
from router.policies.config import MAX_FAULTS, load_policies, parse_overrides, parse_policy
from router.policies.extent import MAX_VALUES, check_extent, short
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


def listed(values: int) -> dict[str, object]:
    """A mapping of four lists that holds so many values in all."""
    return {name: [0] * MAX_NAMES for name in "abc"} | {"d": [0] * (values - 3 * MAX_NAMES - 4)}


@pytest.mark.parametrize(
    ("taken", "too_much", "words"),
    [
        ({"a": [0] * 1024}, {"a": [0] * 1025}, "at.0.a: has 1025 entries; at most 1024 are read"),
        ({"a": (0,) * 1024}, {"a": (0,) * 1025}, "at.0.a: has 1025 entries; at most 1024 are read"),
        (nested(8), nested(9), "at.0: is nested deeper than 8 levels"),
        (listed(4096), listed(4097), "at.0: holds more than 4096 values in all; write less"),
        (
            {"a": "x" * 9999},
            dict.fromkeys(range(1025)),
            "at.0: has 1025 entries; at most 1024 are read",
        ),
        (
            {"a": [[0], {"b" * 65: [0]}]},
            {"a": [[0], {"b" * 65: [0] * 1025}]},
            f"at.0.a.1.{'b' * 64}: has 1025 entries; at most 1024 are read",
        ),
    ],
)
def test_what_is_just_enough_is_taken_and_more_is_told_with_its_place(taken, too_much, words):
    check_extent(taken, ("at", 0))
    with pytest.raises(InvalidPolicy) as refused:
        check_extent(too_much, ("at", 0))
    assert str(refused.value) == words


def test_a_place_in_a_list_is_a_number_and_a_key_is_cut():
    assert short(7) == 7
    assert short("k" * 64) == "k" * 64
    assert short("k" * 65) == "k" * 64
    assert short(None) == "None"


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
    assert len(refused.value.problems) == MAX_FAULTS < MAX_NAMES
    assert str(refused.value).endswith(f"; and {MAX_FAULTS - PROBLEMS_SHOWN} more")
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
