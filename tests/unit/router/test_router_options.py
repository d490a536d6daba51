"""The options that every policy has, in the router."""

import pytest

from router.errors import (
    InvalidPolicy,
    NoCandidates,
    NoCentroid,
    UnknownAdapterInPolicy,
)
from router.policies.config import RoutingOverrides, default_policies, parse_policy
from router.policies.options import Candidates, Window
from router.router import Router
from router.window import RoutingInput
from tests.support.routing import SUM, TEXTS, with_policy


def test_adapters_that_are_not_allowed_do_not_exist(filled):
    decision = filled.route(SUM, "tle", visible={"code", "science", "elsewhere"})
    assert set(decision.scores) == {"code", "science"}
    assert sum(decision.mixture.weights.values()) == pytest.approx(1, abs=1e-3)
    everything = filled.route(SUM, "tle")
    assert decision.mixture.weights["code"] != everything.mixture.weights["code"]
    nothing = filled.route(SUM, visible=())
    assert nothing.mixture.is_base
    assert nothing.fallback == "base"


def test_candidates_are_included_and_excluded_before_scoring(filled):
    with_policy(filled, kind="tle", candidates={"include": ["code", "science", "not-here-yet"]})
    assert set(filled.route(SUM, "mine").scores) == {"code", "science"}
    with_policy(filled, kind="tle", candidates={"exclude": ["maths"]})
    assert set(filled.route(SUM, "mine").scores) == {"code", "science"}


def test_candidates_that_leave_nothing_are_an_error(filled):
    with_policy(filled, kind="tle", candidates={"exclude": sorted(TEXTS)})
    with pytest.raises(NoCandidates, match="leave no adapter; without them there are 3"):
        filled.route(SUM, "mine")


def test_a_request_may_not_include_adapters_that_are_not_there(filled):
    for name, visible in (("gone", None), ("maths", {"code"})):
        overrides = RoutingOverrides(candidates=Candidates(include=("code", name)))
        with pytest.raises(UnknownAdapterInPolicy, match=f"'{name}' in candidates.include"):
            filled.route(SUM, overrides=overrides, visible=visible)


def test_a_request_may_not_include_adapters_that_cannot_be_scored(filled):
    filled.add_adapter("mute", "d-mute")
    with pytest.raises(NoCentroid, match="'mute' cannot be a candidate"):
        filled.route(SUM, overrides=RoutingOverrides(candidates=Candidates(include=("mute",))))


@pytest.mark.parametrize(
    ("fallback", "weights"),
    [
        ("base", {}),
        ("code", {"code": 1.0}),
        ("uniform", {"code": 0.333333, "maths": 0.333333, "science": 0.333333}),
    ],
)
def test_below_the_threshold_the_fallback_answers(filled, fallback, weights):
    with_policy(filled, kind="nearest", threshold=0.99, fallback=fallback, base_share=0.5)
    decision = filled.route(SUM, "mine")
    assert decision.mixture.weights == weights
    assert decision.fallback == fallback
    assert decision.mixture.base_share == 0.0
    assert set(decision.scores) == set(TEXTS)


def test_above_the_threshold_the_policy_answers(filled):
    decision = with_policy(filled, kind="nearest", threshold=0.1).route(SUM, "mine")
    assert (decision.mixture.weights, decision.fallback) == ({"maths": 1.0}, None)


def test_a_fallback_that_is_not_there_is_an_error(filled):
    with_policy(filled, kind="nearest", threshold=0.99, fallback="gone")
    with pytest.raises(UnknownAdapterInPolicy, match="'gone' in fallback"):
        filled.route(SUM, "mine")


@pytest.mark.parametrize("said", ["", "  ", RoutingInput(), RoutingInput((("user", "\n"),))])
def test_without_text_the_fallback_answers(filled, said):
    decision = filled.route(said)
    assert decision.mixture.is_base
    assert (decision.fallback, decision.text_window) == ("base", "")


def test_text_that_is_no_unicode_is_routed_all_the_same(filled):
    assert filled.route("How many \ud83d apples?").mixture.weights["maths"] > 0.8


def test_options_apply_in_their_order(filled):
    """Softmax, then the two heaviest, then none under 0.3, then the base's share."""
    with_policy(filled, kind="uniform", top_k=2, base_share=0.2)
    assert filled.route(SUM, "mine").mixture.weights == {"code": 0.4, "maths": 0.4}
    with_policy(filled, kind="softmax", temperature=0.5, top_k=2, min_weight=0.45, base_share=0.5)
    mixture = filled.route(SUM, "mine").mixture
    assert mixture.weights == {"maths": 0.5}
    assert mixture.base_share == 0.5


def test_min_weight_that_none_reaches_gives_the_fallback(filled):
    with_policy(filled, kind="softmax", temperature=100.0, min_weight=0.5, fallback="science")
    decision = filled.route(SUM, "mine")
    assert (decision.mixture.weights, decision.fallback) == ({"science": 1.0}, "science")


def test_a_base_share_of_one_is_the_base_model(filled):
    decision = with_policy(filled, kind="nearest", base_share=1.0).route(SUM, "mine")
    assert decision.mixture.is_base
    assert decision.fallback is None


def test_the_combination_is_carried(filled):
    assert filled.route(SUM).mixture.combination == "cat"
    overrides = RoutingOverrides(combination="linear")
    assert filled.route(SUM, overrides=overrides).mixture.combination == "linear"


def test_the_window_chooses_what_is_embedded(filled):
    chat = RoutingInput((("user", SUM), ("user", "Write a Python function that sorts a list.")))
    assert filled.route(chat, "nearest").mixture.weights == {"code": 1.0}
    head = RoutingOverrides(window=Window(part="head", pieces=10))
    assert filled.route(chat, "nearest", head).mixture.weights == {"maths": 1.0}


def test_overrides_change_one_request_and_its_version(filled):
    plain = filled.route(SUM)
    sharp = filled.route(SUM, overrides=RoutingOverrides(top_k=1))
    assert sharp.mixture.weights == {"maths": 1.0}
    assert sharp.policy_version != plain.policy_version == filled.route(SUM).policy_version
    with pytest.raises(InvalidPolicy, match=r"routing\.max_temperature"):
        filled.route(SUM, overrides=RoutingOverrides(max_temperature=2.0))


def test_no_mixture_has_more_members_than_the_engine_takes(encoder, filled):
    small = Router(encoder, filled.index, default_policies(), max_members=2)
    assert len(small.route(SUM, "tle").mixture.members) == 2
    assert small.route(SUM, "uniform").mixture.weights == {"code": 0.5, "maths": 0.5}
    assert len(small.route(SUM, "tle", RoutingOverrides(top_k=1)).mixture.members) == 1
    with_policy(small, kind="fixed", weights=dict.fromkeys(TEXTS, 0.1))
    assert len(small.route(SUM, "mine").mixture.members) == 3


@pytest.mark.parametrize("fallback", ["mute", "uniform"])
@pytest.mark.parametrize("threshold", [None, 1.0])
def test_weights_that_follow_begin_with_adapters_that_were_leased(filled, fallback, threshold):
    """A fallback takes a place, so that the prompt's mixture has one adapter fewer."""
    filled.add_adapter("mute", "d-mute")
    raw = {"kind": "softmax", "fallback": fallback, "threshold": threshold, "scope": "token"}
    policies = {**filled.policies, "mine": parse_policy("mine", raw)}
    narrow = Router(filled.encoder, filled.index, policies, max_members=2)
    text = TEXTS["science"][0]  # the last name, which a choice by name alone would leave out
    decision = narrow.route(text, "mine")
    there = decision.following.reweighing
    assert {member.digest for member in decision.mixture.members} <= set(there.digests)
    assert decision.mixture == there.mixture(filled.encoder.encode([text])[0])
    assert len(there.digests) == 2
    assert set(decision.scores) == set(TEXTS)
    assert decision.fallback == (None if threshold is None else fallback)
