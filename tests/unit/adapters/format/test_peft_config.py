"""What a PEFT config says, up to which bounds, and in which words the rest is refused."""

import math
from typing import Any

import pytest

from adapters.errors import InvalidConfig, UnsupportedAdapter
from adapters.format.peft_config import LoraConfigFacts, parse_config

MINIMAL = {"peft_type": "LORA", "target_modules": ["q_proj"]}


def parsed(**fields: Any) -> LoraConfigFacts:
    return parse_config(MINIMAL | fields)


def test_what_a_config_does_not_say_is_as_in_peft() -> None:
    from peft import LoraConfig

    theirs = LoraConfig()
    facts = parsed()
    assert facts == LoraConfigFacts(r=8, lora_alpha=8, target_modules=("q_proj",))
    assert (facts.r, facts.lora_alpha) == (theirs.r, theirs.lora_alpha)


def test_all_that_a_config_says_is_read() -> None:
    facts = parsed(
        peft_type="lora",
        r=4,
        lora_alpha=6.5,
        base_model_name_or_path="org/base",
        use_rslora=True,
        rank_pattern={"b": 2, "a": 16},
        alpha_pattern={"b": 3, "a": 1.5},
        exclude_modules=["k_proj"],
        layers_to_transform=[1, 0],
        layers_pattern="layers",
        modules_to_save=["lm_head"],
        bias="all",
        lora_bias=True,
    )
    assert facts == LoraConfigFacts(
        r=4,
        lora_alpha=6.5,
        target_modules=("q_proj",),
        base_model="org/base",
        use_rslora=True,
        rank_pattern={"b": 2, "a": 16},
        alpha_pattern={"b": 3.0, "a": 1.5},
        exclude_modules=("k_proj",),
        layers_to_transform=frozenset({0, 1}),
        layers_pattern=("layers",),
        modules_to_save=("lm_head",),
        by_effect=("bias", "lora_bias", "modules_to_save"),
    )
    assert list(facts.rank_pattern) == list(facts.alpha_pattern) == ["b", "a"]
    assert facts.max_rank == 16
    assert parsed(r=4, rank_pattern={"a": 2}).max_rank == 4


@pytest.mark.parametrize(
    ("targets", "all_linear"),
    [("all-linear", True), ("ALL-Linear", True), (["all-linear"], False), (".*", False)],
)
def test_the_shorthand_for_every_linear_layer(targets: Any, all_linear: bool) -> None:
    assert parsed(target_modules=targets).targets_all_linear is all_linear


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"base_model_name_or_path": ""}, {}),
        ({"base_model_name_or_path": None}, {}),
        ({"layers_to_transform": []}, {}),
        ({"layers_to_transform": None}, {}),
        ({"layers_to_transform": 3}, {"layers_to_transform": [3]}),
        ({"layers_to_transform": 0}, {"layers_to_transform": [0]}),
        ({"exclude_modules": []}, {}),
        ({"rank_pattern": None, "alpha_pattern": {}, "use_rslora": None}, {}),
        ({"layers_pattern": ["layers"]}, {"layers_pattern": "layers"}),
        ({"init_lora_weights": "Gaussian"}, {}),
        ({"init_lora_weights": True}, {}),
        ({"use_dora": False, "auto_map": None, "next_years_variant": []}, {}),
        ({"lora_dropout": 0.1, "task_type": "CAUSAL_LM", "peft_version": "0.21"}, {}),
    ],
)
def test_other_ways_to_say_the_same(fields: dict[str, Any], same: dict[str, Any]) -> None:
    assert parsed(**fields) == parsed(**same)


WORDS: list[tuple[dict[str, Any], str]] = [
    ({"r": 0}, "'r' is '0'; a rank is a whole number ≥ 1"),
    ({"r": True}, "'r' is 'True'; a rank is a whole number ≥ 1"),
    ({"r": 8.0}, "'r' is '8.0'; a rank is a whole number ≥ 1"),
    ({"rank_pattern": {"a": "2"}}, "'rank_pattern[a]' is '2'; a rank is a whole number ≥ 1"),
    ({"lora_alpha": 0}, "'lora_alpha' is '0'; it must be a number above 0"),
    ({"lora_alpha": True}, "'lora_alpha' is 'True'; it must be a number above 0"),
    ({"lora_alpha": math.inf}, "'lora_alpha' is 'inf'; it must be a number above 0"),
    ({"lora_alpha": math.nan}, "'lora_alpha' is 'nan'; it must be a number above 0"),
    ({"lora_alpha": "8"}, "'lora_alpha' is '8'; it must be a number above 0"),
    (
        {"lora_alpha": 2**53 + 1},
        "'lora_alpha' is '9007199254740993'; it must be a number above 0",
    ),
    ({"alpha_pattern": {"a": -1}}, "'alpha_pattern[a]' is '-1'; it must be a number above 0"),
    ({"use_rslora": 1}, "use_rslora is '1'; it must be true or false"),
    (
        {"rank_pattern": [1]},
        "rank_pattern must be an object of at most 5000 module patterns with their values",
    ),
    (
        {"alpha_pattern": {str(n): 1 for n in range(5001)}},
        "alpha_pattern must be an object of at most 5000 module patterns with their values",
    ),
    (
        {"target_modules": []},
        "target_modules is missing or empty; list the modules that the adapter is for, such as "
        '["q_proj", "v_proj"]',
    ),
    ({"target_modules": 3}, "target_modules must be a list of module names or one pattern"),
    ({"target_modules": ["a", 3]}, "target_modules must be a list of module names or one pattern"),
    (
        {"exclude_modules": ["a"] * 20_001},
        "exclude_modules must be a list of module names or one pattern",
    ),
    ({"layers_to_transform": [-1]}, "layers_to_transform must be layer numbers ≥ 0"),
    ({"layers_to_transform": [True]}, "layers_to_transform must be layer numbers ≥ 0"),
    ({"layers_to_transform": "1"}, "layers_to_transform must be layer numbers ≥ 0"),
    ({"layers_to_transform": [0] * 20_001}, "layers_to_transform must be layer numbers ≥ 0"),
    (
        {"base_model_name_or_path": "x" * 1001},
        "base_model_name_or_path has more than 1000 characters",
    ),
    (
        {"base_model_name_or_path": "org/b\x1base"},
        r"base_model_name_or_path holds the character \x1b, which cannot be seen",
    ),
]


@pytest.mark.parametrize(("fields", "words"), WORDS)
def test_a_value_that_makes_no_sense_is_told(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        parsed(**fields)
    assert str(caught.value) == words


def test_bounds_are_within_what_is_taken() -> None:
    assert parsed(r=1, lora_alpha=2**53).lora_alpha == 2.0**53
    assert len(parsed(target_modules=["a"] * 20_000).target_modules) == 20_000
    assert len(parsed(rank_pattern={str(n): 1 for n in range(5000)}).rank_pattern) == 5000
    assert parsed(layers_to_transform=[0] * 20_000).layers_to_transform == {0}
    assert parsed(base_model_name_or_path="x" * 1000).base_model == "x" * 1000


def test_a_rank_without_bound_is_no_number_without_bound() -> None:
    assert parsed(r=2**16).r == 2**16
    assert parsed(r=10**400).r == 2**16


UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    ({"peft_type": "LOHA"}, "peft_type is 'LOHA'; only LORA adapters are served"),
    ({"peft_type": None}, "peft_type is 'None'; only LORA adapters are served"),
    ({"bias": "some"}, "bias is 'some'; \"none\" is what is served"),
    (
        {"init_lora_weights": "pissa"},
        "init_lora_weights is 'pissa', which changes the base model's weights; convert the adapter "
        "with PEFT's path_initial_model_for_weight_conversion",
    ),
    (
        {"use_dora": True},
        "use_dora is set: DoRA rescales the base weights, which a low-rank update cannot express",
    ),
    (
        {"next_years_variant": {"a": 1}},
        "the field 'next_years_variant' of adapter_config.json is not known and may change what "
        "the adapter does; remove it if it does not",
    ),
]


@pytest.mark.parametrize(("fields", "words"), UNSUPPORTED)
def test_more_than_a_plain_lora_is_told(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UnsupportedAdapter) as caught:
        parsed(**fields)
    assert str(caught.value) == words
