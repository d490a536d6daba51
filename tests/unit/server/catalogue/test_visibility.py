"""What a key with an allow-list can name, and what the router weighs for it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapters.adapter import Adapter
from router.centroids.index import CentroidIndex
from router.choice import View
from router.encoders import make_encoder
from router.errors import UnknownAdapterInPolicy
from router.policies.config import RoutingOverrides, parse_policy
from router.router import Router
from server.access.keys import ALL_ADAPTERS, AdapterRule
from server.catalogue.names import Names
from server.catalogue.visibility import (
    Visibility,
    hiding_invisible_adapters,
    narrowed,
    shown_options,
)
from server.engine.client.worker_policies import policy_key
from server.errors import ActionDenied, ModelNotFound
from server.generation.selection import Selection, read_selection, select
from tests.support.placeholder import named

TOPICS = {
    "ours-maths": "arithmetic and word problems with numbers",
    "ours-code": "computer programs, functions and code",
    "theirs": "biology, physics and other natural science",
    "hidden": "reading a text and answering questions on it",
}
RULE = AdapterRule(("ours-*",))
POLICIES = {
    name: parse_policy(name, raw)
    for name, raw in {
        "auto": {"kind": "softmax", "temperature": 1.0},
        "follow": {"kind": "softmax", "temperature": 1.0, "scope": "token", "stride": 2},
        "again": {"kind": "tle", "scope": "recompute", "stride": 2},
        "top": {"kind": "softmax", "temperature": 1.0, "top_k": 1},
        "tle": {"kind": "tle"},
        "nearest": {"kind": "nearest"},
        "uniform": {"kind": "uniform"},
        "listed": {
            "kind": "uniform",
            "candidates": {"include": ["hidden", "ours-code"], "exclude": ["theirs"]},
        },
        "merged": {"kind": "fixed", "weights": {"ours-maths": 0.5, "hidden": 0.5}},
        "ours": {"kind": "fixed", "weights": {"ours-maths": 0.5, "ours-code": 0.5}},
        "falls": {"kind": "softmax", "threshold": 0.99, "fallback": "hidden"},
        "absent": {"kind": "fixed", "weights": {"nobody": 1.0}},
    }.items()
}
BARRED = {"merged", "falls", "absent"}
SCIENCE = "Which gas do plants take in, and what force moves the planets?"


def adapter(name: str) -> Adapter:
    return Adapter(name, f"d-{name}", Path("/store"), None, 8, (8,), 16, ("q_proj",), 1, 1, 0.0)


NAMES = Names("base", {name: adapter(name) for name in TOPICS}, POLICIES)
SEEN = narrowed(NAMES, POLICIES, RULE)


@pytest.fixture(scope="module")
def router(encoder_path) -> Router:
    encoder = make_encoder(str(encoder_path))
    router = Router(encoder, CentroidIndex(), POLICIES, max_members=2)
    rows = encoder.encode(list(TOPICS.values()))
    router.index.put_all(
        (name, f"d-{name}", row) for name, row in zip(TOPICS, np.asarray(rows), strict=True)
    )
    return router


def test_what_is_not_allowed_is_not_there():
    assert set(SEEN.adapters) == {"ours-maths", "ours-code"}
    assert set(SEEN.barred) == BARRED
    assert set(SEEN.usable) == set(POLICIES) - BARRED


WAYS = [
    {"model": "NAME"},
    {"model": "base:NAME"},
    {"mixture": {"adapters": {"ours-code": 1, "NAME": 1}}},
    {"mixture": {"adapters": {"NAME": 0}}},
    {"lora": [{"id": "NAME", "scale": 1}]},
    {"adapter_id": "NAME"},
    {"merged_adapters": {"ids": ["ours-code", "NAME"], "weights": [1, 1]}},
    {"model": "NAME", "policy": "auto"},
]


def selected(body, names: Names) -> Selection:
    return select(read_selection(body), names)


@pytest.mark.parametrize("body", WAYS, ids=str)
def test_a_hidden_adapter_is_as_unknown_as_one_that_nobody_has(body):
    told = {}
    for name in ("hidden", "unseen"):
        with pytest.raises(ModelNotFound) as refused:
            selected(named(body, name), SEEN)
        told[name] = (str(refused.value).replace(name, "?"), refused.value.param.replace(name, "?"))
    assert told["hidden"] == told["unseen"]
    selected(named(body, "hidden"), NAMES)


@pytest.mark.parametrize("policy", sorted(BARRED))
@pytest.mark.parametrize("field", ["policy", "model"])
def test_a_policy_that_needs_a_hidden_adapter_is_refused_without_its_name(policy, field):
    with pytest.raises(ActionDenied) as refused:
        selected({field: policy}, SEEN)
    assert "hidden" not in str(refused.value)
    assert "nobody" not in str(refused.value)
    assert selected({field: policy}, NAMES).policy == policy


def test_a_barred_default_policy_bars_only_requests_that_would_get_it():
    seen = replace(SEEN, default_policy="merged")
    with pytest.raises(ActionDenied):
        selected({}, seen)
    assert selected({"policy": "auto"}, seen).policy == "auto"
    assert selected({"adapter_id": "ours-code"}, seen).mixture.weights == {"ours-code": 1.0}


@pytest.mark.parametrize("policy", sorted(set(POLICIES) - BARRED))
def test_the_router_weighs_only_what_is_allowed(router, policy):
    decision = router.route(SCIENCE, policy, visible=SEEN.adapters.keys())
    assert set(decision.mixture.weights) <= set(SEEN.adapters)
    assert set(decision.scores) <= set(SEEN.adapters)
    if policy != "listed":
        assert set(router.route(SCIENCE, policy).mixture.weights) - set(SEEN.adapters) or (
            policy == "ours"
        )


def test_the_rest_is_weighed_as_if_there_were_nothing_else(router):
    """The filter comes before the softmax: no weight is lost to what cannot be used."""
    decision = router.route(SCIENCE, "auto", visible=SEEN.adapters.keys())
    scores = {name: decision.scores[name] for name in SEEN.adapters}
    powers = {name: np.exp(score) for name, score in scores.items()}
    for name, weight in decision.mixture.weights.items():
        assert weight == pytest.approx(powers[name] / sum(powers.values()), abs=1e-6)
    assert sum(decision.mixture.weights.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("policy", ["follow", "again"])
def test_what_goes_into_the_workers_holds_nothing_hidden(router, policy):
    """The hidden adapters are nearest; with two places all others would be crowded out."""
    mine = router.route(SCIENCE, policy, visible=SEEN.adapters.keys()).following.reweighing
    whole = router.route(SCIENCE, policy).following.reweighing
    assert set(mine.names) == set(mine.snapshot.entries) == set(SEEN.adapters)
    assert set(mine.to_wire()["entries"]) == set(SEEN.adapters)
    assert "theirs" in whole.names
    for text in (SCIENCE, *TOPICS.values()):
        (row,) = router.encoder.encode([text])
        assert set(mine.mixture(row).weights) <= set(SEEN.adapters)


def test_unlike_allow_lists_have_unlike_policies_in_the_workers(router):
    ids = {f"d-{name}": number for number, name in enumerate(TOPICS)}
    rules = [RULE, AdapterRule(("*s",)), AdapterRule(("hidden", "ours-code")), ALL_ADAPTERS]
    keys = set()
    for rule in rules:
        allowed = [name for name in TOPICS if rule.allows(name)]
        following = router.route(SCIENCE, "follow", visible=allowed).following
        keys.add(policy_key(following.reweighing, ids))
    assert len(keys) == len(rules)


@pytest.mark.parametrize("overrides", [{"candidates": {"include": ["NAME"]}}, {"fallback": "NAME"}])
def test_naming_one_in_a_change_to_a_policy_tells_nothing(router, overrides):
    told = set()
    for name in ("hidden", "unseen"):
        changes = RoutingOverrides.model_validate({"threshold": 0.99, **named(overrides, name)})
        with pytest.raises(UnknownAdapterInPolicy) as refused:
            router.route(SCIENCE, "auto", changes, SEEN.adapters.keys())
        told.add(str(refused.value).replace(name, "?"))
    assert len(told) == 1


@pytest.mark.parametrize("policy", ["merged", "falls"])
def test_a_policy_that_was_replaced_meanwhile_tells_no_name_either(router, policy):
    """It was let through as another policy, and names a hidden adapter by the time it weighs."""
    with pytest.raises(ActionDenied) as refused, hiding_invisible_adapters(RULE, policy, None):
        router.route(SCIENCE, policy, visible=SEEN.adapters.keys())
    assert "hidden" not in str(refused.value)
    own = RoutingOverrides.model_validate({"threshold": 0.99, "fallback": "hidden"})
    with pytest.raises(UnknownAdapterInPolicy), hiding_invisible_adapters(RULE, "auto", own):
        router.route(SCIENCE, "auto", own, SEEN.adapters.keys())
    with (
        pytest.raises(UnknownAdapterInPolicy),
        hiding_invisible_adapters(ALL_ADAPTERS, "absent", None),
    ):
        router.route(SCIENCE, "absent")


def test_a_fallback_that_is_hidden_takes_no_place_in_the_workers(router):
    changes = RoutingOverrides.model_validate({"fallback": "hidden"})
    decision = router.route(SCIENCE, "follow", changes, SEEN.adapters.keys())
    assert set(decision.following.reweighing.snapshot.entries) == set(SEEN.adapters)
    assert not View(router.index.snapshot, SEEN.adapters.keys()).has("hidden")


def test_a_policys_lists_are_shown_without_what_is_hidden():
    told = shown_options(POLICIES["listed"], SEEN.adapters)
    assert told["candidates"] == {"include": ["ours-code"], "exclude": []}
    assert shown_options(POLICIES["auto"], SEEN.adapters)["candidates"]["include"] is None
    assert "hidden" in str(shown_options(POLICIES["listed"], None))


def test_what_a_rule_leaves_is_kept_until_the_names_change():
    visibility = Visibility()
    first = visibility.narrowed(NAMES, POLICIES, RULE)
    assert visibility.narrowed(NAMES, POLICIES, RULE) is first
    assert visibility.narrowed(NAMES, POLICIES, ALL_ADAPTERS) is NAMES
    more = replace(NAMES, adapters={**NAMES.adapters, "ours-new": adapter("ours-new")})
    assert "ours-new" in visibility.narrowed(more, POLICIES, RULE).adapters
    for number in range(600):
        visibility.narrowed(more, POLICIES, AdapterRule((f"x{number}",)))
    assert len(visibility._kept) <= 256
