"""A policy that left the router weighs as the router does, on both sides of the wire."""

import msgspec
import numpy as np
import pytest

from router.centroids.index import CentroidIndex
from router.choice import View, choose, mixture_of
from router.policies.config import parse_policy
from router.reweighing import Reweighing

WIDTH, ADAPTERS = 24, 30


@pytest.fixture(scope="module")
def index() -> CentroidIndex:
    rng = np.random.default_rng(3)
    made = CentroidIndex()
    for number in range(ADAPTERS):
        count = 1 + number % 3
        made.put(f"a{number:02}", f"digest-{number}", rng.normal(size=(count, WIDTH)))
    made.put("unscored", "digest-u", None)
    return made


POLICIES = [
    {"kind": "tle"},
    {"kind": "softmax", "temperature": 0.1, "top_k": 3},
    {"kind": "softmax", "temperature": 0.3, "min_weight": 0.05, "base_share": 0.2},
    {"kind": "nearest"},
    {"kind": "softmax", "temperature": 0.1, "threshold": 0.99, "fallback": "unscored"},
    {"kind": "tle", "threshold": 0.99, "fallback": "uniform"},
]


@pytest.mark.parametrize("raw", POLICIES)
@pytest.mark.parametrize("limit", [None, 8])
def test_the_prompts_mixture_is_the_routers(index: CentroidIndex, raw: dict, limit) -> None:
    config = parse_policy("p", raw)
    view = View(index.snapshot)
    names = view.candidates(config, "p")
    rng = np.random.default_rng(4)
    for _ in range(20):
        embedding = rng.normal(size=WIDTH)
        scores = view.scores(embedding, names)
        there = Reweighing.over(view, names, scores, config, "p", limit)
        assert limit is None or len(there.digests) <= limit
        sent = msgspec.msgpack.decode(msgspec.msgpack.encode(there.to_wire()))
        mixture = Reweighing.from_wire(sent).mixture(embedding)
        assert mixture == there.mixture(embedding)
        if raw.get("fallback") == "uniform":
            continue  # over the candidates that were kept, not over all
        routed = mixture_of(choose(config, names, scores, limit), view, config, "p")
        assert mixture == routed
        assert {member.digest for member in mixture.members} <= set(there.digests)


@pytest.mark.parametrize("raw", [*POLICIES, {"kind": "softmax", "threshold": 0.35}])
def test_together_as_alone(index: CentroidIndex, raw: dict) -> None:
    config = parse_policy("p", raw)
    view = View(index.snapshot)
    names = view.candidates(config, "p")
    rows = list(np.random.default_rng(5).normal(size=(33, WIDTH)))
    there = Reweighing.over(view, names, view.scores(rows[0], names), config, "p", 8)
    said = [*rows[:20], None, *rows[20:]]
    alone = [there.mixture(row) for row in said]
    assert there.mixtures(said) == alone
    assert there.mixtures(said[::-1]) == alone[::-1]
    assert there.mixtures([]) == []
    if config.threshold == 0.35:  # some reach it and some do not, so the two are told apart
        assert {mixture.is_base for mixture in alone} == {True, False}


def test_nothing_said_is_the_fallback(index: CentroidIndex) -> None:
    config = parse_policy("p", {"kind": "tle"})
    view = View(index.snapshot)
    names = view.candidates(config, "p")
    there = Reweighing.over(view, names, np.arange(len(names)) / 100, config, "p", 4)
    assert there.mixture(None).is_base
    assert there.names == tuple(names[-4:])
