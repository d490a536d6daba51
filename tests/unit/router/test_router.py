import threading

import numpy as np
import pytest

from adapters.adapter import RoutingData
from router.centroids import centroid
from router.config import RoutingOverrides, default_policies, parse_policy
from router.errors import (
    CentroidMismatch,
    InvalidPolicy,
    NoCandidates,
    NoCentroid,
    UnknownAdapterInPolicy,
    UnknownPolicy,
)
from router.index import CentroidIndex
from router.mixture import Mixture
from router.options import Candidates, Window
from router.policies import POLICIES
from router.router import Router
from router.window import RoutingInput

TEXTS = {
    "maths": ("Tom has 3 apples and buys 4 more. How many apples has he?", "What is 12 times 7?"),
    "code": ("Write a Python function that sorts a list.", "Fix this SQL query."),
    "science": ("Which gas do plants take in for photosynthesis?", "What force moves planets?"),
}
SUM = "Anna had 12 pears and ate 5. How many pears are left?"


class CountingEncoder:
    """The real encoder, counting the texts it is given."""

    def __init__(self, encoder):
        self._encoder, self.texts = encoder, []

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def encode(self, texts):
        self.texts.extend(texts)
        return self._encoder.encode(texts)


@pytest.fixture
def filled(router):
    router.add_adapters((name, f"d-{name}", RoutingData(texts)) for name, texts in TEXTS.items())
    return router


def with_policy(router, **raw):
    router.put_policy("mine", parse_policy("mine", raw))
    return router


def test_a_text_goes_to_the_adapter_of_its_kind(filled):
    decision = filled.route(SUM)
    assert decision.mixture.members[0].name == "maths"
    assert decision.mixture.members[0].digest == "d-maths"
    assert decision.mixture.weights["maths"] > 0.8
    assert filled.route("Sort a list of numbers in Python").mixture.members[0].name == "code"


def test_a_decision_tells_how_it_came_about(filled):
    decision = filled.route(RoutingInput((("system", "Be brief."), ("user", SUM))))
    assert (decision.policy, decision.fallback, decision.text_window) == ("auto", None, SUM)
    assert decision.policy_version == filled.policies["auto"].version
    assert decision.mixture.policy_version == decision.policy_version
    assert decision.mixture.policy == "auto"
    assert decision.encode_ms > 0
    assert decision.weigh_ms > 0
    embedding = filled.encoder.encode([SUM])[0].astype(np.float64)
    for name, texts in TEXTS.items():
        middle = centroid(filled.encoder, texts)
        cosine = embedding @ middle / np.linalg.norm(embedding) / np.linalg.norm(middle)
        assert decision.scores[name] == pytest.approx(cosine, abs=1e-6)


def test_weights_follow_the_policys_formula(filled):
    decision = filled.route(SUM, "tle", RoutingOverrides(window=Window()))
    scores = decision.scores
    best = max(scores, key=scores.get)
    powers = {name: np.exp(score * (4 if name == best else 1)) for name, score in scores.items()}
    expected = {name: power / sum(powers.values()) for name, power in powers.items()}
    assert decision.mixture.weights == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("kind", [kind for kind in POLICIES if kind != "fixed"])
def test_an_empty_index_gives_the_base_model(router, kind):
    decision = with_policy(router, kind=kind).route(SUM, "mine")
    assert decision.mixture.is_base
    assert decision.fallback == "base"
    assert decision.scores == {}
    assert decision.mixture == Mixture(policy="mine", policy_version=decision.policy_version)


@pytest.mark.parametrize("kind", [kind for kind in POLICIES if kind != "fixed"])
def test_one_adapter_gets_it_all(router, kind):
    router.add_adapter("maths", "d", RoutingData(TEXTS["maths"]))
    assert with_policy(router, kind=kind).route(SUM, "mine").mixture.weights == {"maths": 1.0}


@pytest.mark.parametrize("raw", [{"kind": "uniform"}, {"kind": "fixed", "weights": {"maths": 0.3}}])
def test_policies_that_need_no_scores_never_encode(filled, raw):
    filled.encoder = CountingEncoder(filled.encoder)
    decision = with_policy(filled, **raw).route(SUM, "mine")
    assert filled.encoder.texts == []
    assert (decision.text_window, decision.scores) == ("", {})
    filled.route(SUM)
    assert filled.encoder.texts == [SUM]


def test_an_empty_index_never_encodes(router):
    router.encoder = CountingEncoder(router.encoder)
    router.route(SUM)
    assert router.encoder.texts == []


def test_fixed_gives_its_weights(filled):
    with_policy(filled, kind="fixed", weights={"code": 0.3, "maths": 0.3, "science": 1.0})
    mixture = filled.route("anything", "mine").mixture
    assert mixture.weights == {"science": 1.0, "code": 0.3, "maths": 0.3}


def test_fixed_may_name_adapters_that_cannot_be_scored(filled):
    filled.add_adapter("mute", "d-mute")
    with_policy(filled, kind="fixed", weights={"mute": 0.5}, base_share=0.5)
    mixture = filled.route("", "mine").mixture
    assert (mixture.weights, mixture.base_share) == ({"mute": 0.25}, 0.5)
    assert "mute" not in filled.route(SUM).scores
    assert "mute" not in filled.route(SUM, "uniform").mixture.weights


def test_fixed_with_a_missing_adapter_is_an_error(filled):
    with_policy(filled, kind="fixed", weights={"code": 0.3, "gone": 0.3})
    with pytest.raises(UnknownAdapterInPolicy, match="policy 'mine' names adapter 'gone' in weigh"):
        filled.route("x", "mine")
    with_policy(filled, kind="fixed", weights={"code": 0.3})
    with pytest.raises(UnknownAdapterInPolicy):
        filled.route("x", "mine", allowed={"maths"})


def test_unknown_policies_are_told(router):
    with pytest.raises(UnknownPolicy, match="'none'; known policies: auto, nearest, tle, uniform"):
        router.route("x", "none")


def test_adapters_that_are_not_allowed_do_not_exist(filled):
    decision = filled.route(SUM, "tle", allowed={"code", "science", "elsewhere"})
    assert set(decision.scores) == {"code", "science"}
    assert sum(decision.mixture.weights.values()) == pytest.approx(1, abs=1e-3)
    everything = filled.route(SUM, "tle")
    assert decision.mixture.weights["code"] != everything.mixture.weights["code"]
    nothing = filled.route(SUM, allowed=())
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
    for name, allowed in (("gone", None), ("maths", {"code"})):
        overrides = RoutingOverrides(candidates=Candidates(include=("code", name)))
        with pytest.raises(UnknownAdapterInPolicy, match=f"'{name}' in candidates.include"):
            filled.route(SUM, overrides=overrides, allowed=allowed)


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


def test_equal_requests_get_equal_mixtures_whatever_the_order_of_arrival(encoder, filled):
    other = Router(encoder, CentroidIndex(), default_policies())
    for name in sorted(TEXTS, reverse=True):
        other.add_adapter(name, f"d-{name}", RoutingData(TEXTS[name]))
    for policy in filled.policies:
        assert other.route(SUM, policy).mixture == filled.route(SUM, policy).mixture


def test_adapters_come_and_go_while_serving(filled):
    assert filled.add_adapter("pears", "d-pears", RoutingData((SUM,)))
    assert filled.route(SUM, "nearest").mixture.weights == {"pears": 1.0}
    assert filled.remove_adapter("pears")
    assert not filled.remove_adapter("pears")
    assert filled.route(SUM, "nearest").mixture.weights == {"maths": 1.0}
    assert not filled.add_adapter("mute", "d-mute", RoutingData())


def test_an_adapter_whose_centroid_cannot_be_used_changes_nothing(filled):
    before = filled.index.snapshot
    with pytest.raises(CentroidMismatch):
        filled.add_adapter("maths", "new", RoutingData(centroids=((1.0,),), encoder="another"))
    assert filled.index.snapshot is before


def test_policies_are_replaced_and_removed_whole(filled):
    before = filled.policies
    with_policy(filled, kind="nearest")
    assert "mine" not in before
    assert filled.remove_policy("mine")
    assert not filled.remove_policy("mine")
    with pytest.raises(UnknownPolicy):
        filled.route("x", "mine")
    with pytest.raises(InvalidPolicy, match="'base' is reserved"):
        filled.put_policy("base", parse_policy("any", {"kind": "tle"}))


def test_routing_goes_on_while_adapters_change(filled):
    data = RoutingData(centroids=(tuple(np.eye(384)[0].tolist()),), encoder=filled.encoder.name)
    problems = []

    def change():
        for turn in range(60):
            filled.add_adapter(f"extra-{turn % 5}", f"d-{turn}", data)
            filled.remove_adapter(f"extra-{(turn + 2) % 5}")

    changer = threading.Thread(target=change)
    changer.start()
    while changer.is_alive():
        mixture = filled.route(SUM, "nearest").mixture
        if mixture.weights != {"maths": 1.0}:
            problems.append(mixture)
    changer.join()
    assert problems == []
