"""Keys and values are shared by equal mixtures of one tenant, and by nothing else."""

import pytest

from router.centroids.index import Entry, built
from router.decision import Following
from router.mixture import BASE_MODEL, Member, Mixture
from router.policies.config import parse_policy
from router.reweighing import Reweighing
from router.window import RoutingInput
from server.engine.client.mixing_llm import MixingLLM, Part, cache_salt
from server.engine.client.plan import GenerationPlan


def mixture(*members: tuple[str, float], names: str = "ab", **others: object) -> Mixture:
    return Mixture.of(
        [Member(name, digest, w) for name, (digest, w) in zip(names, members, strict=True)],
        **others,
    )


MIXED = mixture(("d-a", 0.6), ("d-b", 0.4))
ONE = cache_salt(MIXED, "tenant", None)


@pytest.mark.parametrize(
    ("mixed", "tenant", "user_salt"),
    [
        (MIXED, "another", None),
        (MIXED, "", None),
        (MIXED, "tenant", "salt"),
        (MIXED, "tenant", ""),
        (mixture(("d-a", 0.4), ("d-b", 0.6)), "tenant", None),
        (mixture(("d-a", 0.6), ("d-b", 0.400001)), "tenant", None),
        (mixture(("d-a", 0.6), ("d-c", 0.4)), "tenant", None),
        (mixture(("d-a", 0.6), names="a"), "tenant", None),
        (mixture(("d-a", 0.6), ("d-b", 0.4), combination="linear"), "tenant", None),
        (BASE_MODEL, "tenant", None),
    ],
)
def test_what_a_block_depends_on_is_part_of_the_salt(mixed, tenant, user_salt):
    assert cache_salt(mixed, tenant, user_salt) != ONE


@pytest.mark.parametrize(
    "mixed",
    [
        mixture(("d-b", 0.4), ("d-a", 0.6), names="ba"),
        mixture(("d-a", 0.6), ("d-b", 0.4), names="xy"),
        mixture(("d-a", 0.6000001), ("d-b", 0.4)),
        mixture(("d-a", 0.6), ("d-b", 0.4), policy="auto", policy_version="1"),
        mixture(("d-a", 0.6), ("d-b", 0.4), policy="auto", policy_version="2"),
        mixture(("d-a", 0.6), ("d-b", 0.4), base_share=0.2),
    ],
)
def test_what_a_block_does_not_depend_on_is_no_part_of_it(mixed):
    assert cache_salt(mixed, "tenant", None) == ONE


def test_only_the_base_model_of_nobody_has_none():
    assert cache_salt(BASE_MODEL, "", None) is None
    salts = [
        cache_salt(BASE_MODEL, "", "salt"),
        cache_salt(BASE_MODEL, "one", None),
        cache_salt(BASE_MODEL, "two", None),
        cache_salt(MIXED, "", None),
    ]
    assert None not in salts
    assert len(set(salts)) == len(salts)


def test_a_tenant_cannot_pass_for_another_by_its_own_salt():
    assert cache_salt(MIXED, "a", "b") != cache_salt(MIXED, "ab", None)
    assert cache_salt(MIXED, "a", "b") != cache_salt(MIXED, "b", "a")


def following(scope: str) -> Following:
    config = parse_policy("auto", {"kind": "softmax", "scope": scope})
    snapshot = built({"a": Entry("d-a"), "b": Entry("d-b")})
    return Following(Reweighing("auto", config, ("a", "b"), snapshot), RoutingInput(text="said"))


def test_the_plans_tenant_and_salt_go_in():
    plan = GenerationPlan((MIXED,), "tenant", "salt")
    part = Part.of(plan, "request")
    assert MixingLLM._salt(plan, part) == cache_salt(MIXED, "tenant", "salt")
    nobodys = GenerationPlan((BASE_MODEL,), "", None)
    assert MixingLLM._salt(nobodys, Part.of(nobodys, "request")) is None


@pytest.mark.parametrize("scope", ["token", "recompute"])
def test_a_request_that_follows_its_answer_shares_with_nothing(scope):
    plan = GenerationPlan((MIXED,), "tenant", None, (following(scope),))
    part = Part.of(plan, "request")
    salts = [MixingLLM._salt(plan, part) for _ in range(3)]
    assert len({*salts, ONE}) == 4
    assert None not in salts
    assert all(salt.startswith(f"{ONE}-") for salt in salts)
