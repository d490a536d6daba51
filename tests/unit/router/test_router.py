import threading

import numpy as np
import pytest

from adapters.adapter import RoutingData
from router.centroids.centroid import centroid
from router.centroids.index import CentroidIndex
from router.errors import (
    CentroidMismatch,
    InvalidPolicy,
    UnknownAdapterInPolicy,
    UnknownPolicy,
)
from router.mixture import Mixture
from router.policies import POLICIES
from router.policies.config import RoutingOverrides, default_policies, parse_policy
from router.policies.options import Window
from router.router import Router
from router.window import RoutingInput
from tests.support.routing import SUM, TEXTS, CountingEncoder, with_policy


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
        filled.route("x", "mine", visible={"maths"})


def test_unknown_policies_are_told(router):
    with pytest.raises(UnknownPolicy, match="'none'; known policies: auto, nearest, tle, uniform"):
        router.route("x", "none")


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
