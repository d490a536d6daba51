from pathlib import Path

import pytest

from adapters.adapter import Adapter
from router.errors import InvalidPolicy
from router.mixture import BASE_MODEL
from server import errors
from server.catalogue.names import Names
from server.catalogue.numbers import Numbers
from server.generation.selection import Selection, read_selection, select


def adapter(name: str) -> Adapter:
    return Adapter(
        name=name,
        digest=f"digest-of-{name}",
        path=Path("/store") / name,
        base_model=None,
        rank=8,
        ranks=(8,),
        lora_alpha=16,
        target_modules=("self_attn.q_proj",),
        size_bytes=1,
        parameters=1,
        created=0.0,
    )


NAMES = Names(
    base="Tiny-1M",
    adapters={name: adapter(name) for name in ("maths", "code", "a.b")},
    policies=("auto", "nearest"),
    numbers=Numbers(("code", "maths", "gone"), {"maths", "code", "a.b"}),
)


def selected(body, names: Names) -> Selection:
    return select(read_selection(body), names)


def weights(**body) -> dict[str, float]:
    selection = selected(body, NAMES)
    assert selection.mixture is not None
    return selection.mixture.weights


def test_the_base_model_goes_by_its_name():
    selection = selected({"model": "Tiny-1M"}, NAMES)
    assert (selection.model, selection.mixture) == ("Tiny-1M", BASE_MODEL)


@pytest.mark.parametrize("body", [{}, {"model": None}, {"model": ""}])
def test_no_model_is_the_default_policy(body):
    selection = selected({**body, "routing": {"top_k": 1}}, NAMES)
    assert (selection.model, selection.mixture, selection.policy) == ("auto", None, "auto")
    assert selection.overrides.top_k == 1


@pytest.mark.parametrize("model", ["maths", "Tiny-1M:maths", "Tiny-1M::maths"])
def test_an_adapter_goes_by_its_name_alone_or_behind_the_base_models(model):
    selection = selected({"model": model}, NAMES)
    assert selection.model == "maths"
    assert selection.mixture.weights == {"maths": 1.0}
    assert selection.mixture.members[0].digest == "digest-of-maths"


def test_a_policy_goes_by_its_name():
    selection = selected({"model": "auto"}, NAMES)
    assert (selection.model, selection.mixture, selection.policy) == ("auto", None, "auto")


def test_a_given_policy_wins_over_the_model():
    selection = selected({"model": "maths", "policy": "nearest", "routing": {"top_k": 2}}, NAMES)
    assert (selection.model, selection.policy, selection.mixture) == ("nearest", "nearest", None)
    assert selection.overrides.top_k == 2


def test_a_given_mixture_wins_over_the_model():
    body = {"model": "auto", "mixture": {"adapters": {"maths": 0.7, "code": 0.3}}}
    selection = selected(body, NAMES)
    assert selection.mixture.weights == {"maths": 0.7, "code": 0.3}
    assert selection.mixture.combination == "cat"
    assert selection.model == "Tiny-1M"
    assert selection.mixture.policy is None


@pytest.mark.parametrize("combination", ["cat", "linear", "linear_peft04"])
def test_every_combination_can_be_asked_for(combination):
    body = {"mixture": {"adapters": {"maths": 1}, "combination": combination}}
    assert selected(body, NAMES).mixture.combination == combination


def test_the_aliases_of_peers_mean_the_exact_weighted_sum():
    same = {"maths": 0.5, "code": 1.0}
    assert weights(lora=[{"id": "maths", "scale": 0.5}, {"id": "code"}]) == same
    merged = {"ids": ["maths", "code"], "weights": [0.5, 1], "merge_strategy": "linear"}
    assert weights(merged_adapters=merged) == same
    assert weights(adapter_id="maths", adapter_source="local") == {"maths": 1.0}
    for field in ("adapter_id", "adapter", "lora_path"):
        for body in ({field: "maths"}, {"parameters": {field: "maths"}}):
            assert selected(body, NAMES).model == "maths"
            assert weights(**body) == {"maths": 1.0}
    assert weights(lora=[{"id": 1, "scale": 0.5}, {"id": "code"}]) == same
    nulls = {"merge_strategy": None, "majority_sign_method": None, "density": 0.5}
    assert weights(merged_adapters={**merged, **nulls}) == same


def test_a_weight_of_zero_takes_no_part():
    assert weights(mixture={"adapters": {"maths": 0, "code": 1}}) == {"code": 1.0}
    assert weights(mixture={"adapters": {"maths": 0.0}}) == {}


MIXTURE = {"adapters": {"maths": 1}}


@pytest.mark.parametrize(
    ("body", "error", "param"),
    [
        ({"model": "nope"}, errors.ModelNotFound, "model"),
        ({"model": "base"}, errors.ModelNotFound, "model"),
        ({"model": "Tiny-1M:nope"}, errors.ModelNotFound, "model"),
        ({"model": "tiny-1m"}, errors.ModelNotFound, "model"),
        ({"model": 3}, errors.InvalidRequest, "model"),
        ({"model": ["maths"]}, errors.InvalidRequest, "model"),
        ({"model": "nope", "mixture": MIXTURE}, errors.ModelNotFound, "model"),
        ({"policy": "nope"}, errors.ModelNotFound, "policy"),
        ({"policy": 3}, errors.InvalidRequest, "policy"),
        ({"policy": ["auto"]}, errors.InvalidRequest, "policy"),
        ({"mixture": MIXTURE, "policy": "auto"}, errors.MixtureConflict, "policy"),
        ({"mixture": MIXTURE, "adapter_id": "code"}, errors.MixtureConflict, "adapter_id"),
        ({"lora": [{"id": "code"}], "mixture": MIXTURE}, errors.MixtureConflict, "lora"),
        ({"mixture": MIXTURE, "routing": {"top_k": 1}}, errors.MixtureConflict, "routing"),
        ({"model": "maths", "routing": {"top_k": 1}}, errors.MixtureConflict, "routing"),
        ({"model": "auto", "routing": 3}, errors.InvalidRequest, "routing"),
        ({"mixture": 3}, errors.InvalidMixture, "mixture"),
        ({"mixture": {}}, errors.InvalidMixture, "mixture.adapters"),
        ({"mixture": {"adapters": []}}, errors.InvalidMixture, "mixture.adapters"),
        ({"mixture": {"adapters": {}}}, errors.EmptyMixture, "mixture.adapters"),
        ({"mixture": {**MIXTURE, "extra": 1}}, errors.InvalidMixture, "mixture"),
        (
            {"mixture": {**MIXTURE, "combination": "svd"}},
            errors.InvalidMixture,
            "mixture.combination",
        ),
        (
            {"mixture": {**MIXTURE, "combination": ["cat"]}},
            errors.InvalidMixture,
            "mixture.combination",
        ),
        (
            {"mixture": {"adapters": {"nope": 1}}},
            errors.ModelNotFound,
            "mixture.adapters.nope",
        ),
        ({"lora": {}}, errors.InvalidMixture, "lora"),
        ({"lora": []}, errors.EmptyMixture, "lora"),
        ({"lora": [3]}, errors.InvalidMixture, "lora[0]"),
        ({"lora": [{"id": 3, "scale": 1}]}, errors.ModelNotFound, "lora[0].scale"),
        ({"lora": [{"id": 0.0, "scale": 1}]}, errors.InvalidMixture, "lora[0].id"),
        ({"lora_path": ["maths", "code"]}, errors.InvalidMixture, "lora_path"),
        ({"adapters": "maths"}, errors.UnsupportedParameter, "adapters"),
        ({"lora": [{"id": "maths", "scale": "1"}]}, errors.InvalidWeight, "lora[0].scale"),
        ({"lora": [{"id": "maths"}, {"id": "maths"}]}, errors.InvalidMixture, "lora[1].id"),
        ({"adapter_id": 3}, errors.InvalidMixture, "adapter_id"),
        ({"adapter_id": ""}, errors.ModelNotFound, "adapter_id"),
        ({"merged_adapters": {"ids": "maths"}}, errors.InvalidMixture, "merged_adapters.ids"),
        (
            {"merged_adapters": {"ids": ["maths"], "weights": []}},
            errors.InvalidMixture,
            "merged_adapters.weights",
        ),
        (
            {"merged_adapters": {"ids": [], "weights": []}},
            errors.EmptyMixture,
            "merged_adapters",
        ),
        (
            {"merged_adapters": {"ids": ["code", "code"], "weights": [1, 1]}},
            errors.InvalidMixture,
            "merged_adapters.ids",
        ),
        (
            {"merged_adapters": {"ids": ["code"], "weights": [1], "merge_strategy": "ties"}},
            errors.InvalidMixture,
            "merged_adapters.merge_strategy",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_field_at_fault(body, error, param):
    with pytest.raises(error) as caught:
        selected(body, NAMES)
    assert type(caught.value) is error
    assert caught.value.param == param


@pytest.mark.parametrize(
    "weight",
    [
        -1,
        -1e-9,
        float("nan"),
        float("inf"),
        float("-inf"),
        1000.1,
        10**400,
        "1",
        True,
        None,
        [],
        {},
    ],
)
def test_a_weight_is_a_number_from_0_to_1000(weight):
    with pytest.raises(errors.InvalidWeight) as caught:
        selected({"mixture": {"adapters": {"maths": weight}}}, NAMES)
    assert caught.value.param == "mixture.adapters.maths"
    assert len(str(caught.value)) < 400


def test_overrides_that_do_not_exist_are_told_by_the_router():
    with pytest.raises(InvalidPolicy) as caught:
        selected({"model": "auto", "routing": {"topk": 1}}, NAMES)
    assert caught.value.field == "routing.topk"


def test_long_names_are_not_echoed_whole():
    with pytest.raises(errors.ModelNotFound) as caught:
        selected({"model": "x" * 100_000}, NAMES)
    assert len(str(caught.value)) < 400
