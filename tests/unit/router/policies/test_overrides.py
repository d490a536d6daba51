"""What a request may change of a policy, and how what does not fit is refused."""

from typing import get_type_hints

import pytest

from router.errors import InvalidPolicy
from router.policies import POLICIES
from router.policies.config import (
    RoutingOverrides,
    default_policies,
    overridden,
    parse_overrides,
    parse_policy,
)
from router.policies.options import NAME_RULE, Options, Window
from tests.unit.router.policies.test_config import COMMON


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


REQUIRED = {"fixed": {"weights": {"a": 1.0}}}


@pytest.mark.parametrize(
    ("kind", "raw", "field", "words"),
    [
        (
            "tle",
            {"temprature": 1},
            "routing.temprature",
            "there is no option 'temprature'; did you mean 'temperature'?",
        ),
        ("tle", {"top_k": "2"}, "routing.top_k", "must be a whole number (got '2')"),
        ("tle", {"top_k": 0}, "routing.top_k", "must be at least 1 (got 0)"),
        (
            "tle",
            {"scope": "always"},
            "routing.scope",
            "must be 'prompt', 'token' or 'recompute' (got 'always')",
        ),
        (
            "uniform",
            {"scope": "recompute"},
            "routing.scope",
            "'scope' means nothing for kind 'uniform'; take it out",
        ),
        (
            "fixed",
            {"encoder": "static"},
            "routing.encoder",
            "'encoder' means nothing for kind 'fixed'; take it out",
        ),
        (
            "tle",
            {"combination": "svd"},
            "routing.combination",
            "must be 'cat', 'linear' or 'linear_peft04' (got 'svd')",
        ),
        (
            "tle",
            {"candidates": {"include": ["a", "A!"]}},
            "routing.candidates.include.1",
            f"a name must be {NAME_RULE} (got 'A!')",
        ),
        (
            "tle",
            {"window": "middle"},
            "routing.window.part",
            "must be 'head', 'tail', 'last_message', 'conversation' or 'whole' (got 'middle')",
        ),
        (
            "nearest",
            {"temperature": 1.0},
            "routing.temperature",
            f"there is no option 'temperature' of kind 'nearest'; there are: {COMMON}",
        ),
        (
            "softmax",
            {"max_temperature": 4.0},
            "routing.max_temperature",
            "there is no option 'max_temperature' of kind 'softmax'; did you mean 'temperature'?",
        ),
        (
            "uniform",
            {"threshold": 0.1},
            "routing.threshold",
            "'threshold' means nothing for kind 'uniform'; take it out",
        ),
        ("tle", [1], "routing", "must be an object (got [1])"),
    ],
)
def test_overrides_that_do_not_fit_are_refused(kind, raw, field, words):
    with pytest.raises(InvalidPolicy) as caught:
        overridden(POLICIES[kind](**REQUIRED.get(kind, {})), parse_overrides(raw))
    assert caught.value.field == field
    assert caught.value.line is None
    assert str(caught.value) == f"{field}: {words}"


def test_a_request_has_no_kind_of_its_own():
    with pytest.raises(InvalidPolicy, match=r"^routing\.kind: there is no option 'kind'"):
        parse_overrides({"kind": "nearest"})


def test_a_changed_policy_keeps_what_is_not_changed():
    raw = {"kind": "tle", "top_k": 3, "fallback": "uniform", "candidates": {"exclude": ["a"]}}
    changed = overridden(parse_policy("mine", raw), RoutingOverrides(temperature=2.0))
    assert changed == parse_policy("mine", {**raw, "temperature": 2.0})


@pytest.mark.parametrize(
    ("length", "shown"), [(58, "'" + "x" * 58 + "'"), (59, "'" + "x" * 56 + "…")]
)
def test_a_long_value_is_shown_by_its_beginning(length, shown):
    with pytest.raises(InvalidPolicy) as caught:
        parse_overrides({"top_k": "x" * length})
    assert str(caught.value) == f"routing.top_k: must be a whole number (got {shown})"
