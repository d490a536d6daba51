"""Names and scalings are those of PEFT itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import InvalidConfig, RankMismatch, TargetMismatch, UnknownTensor
from adapters.format.peft_config import LoraConfigFacts
from adapters.format.peft_format import (
    layer_of,
    module_scalings,
    parse_tensor_name,
    read_config,
    resolve_ranks_and_alphas,
    scalings,
    targeted_modules,
    tensor_name,
    unwrapped,
)
from adapters.limits import Limits
from adapters.registry.registry import AdapterRegistry
from adapters.validation.base_model import BaseModelShapes
from adapters.validation.validate import validate

MakeAdapter = Callable[..., tuple[Path, dict[str, float]]]

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rank-stabilised": {"use_rslora": True},
    "fractional alpha": {"lora_alpha": 12.5},
    "all linear": {"target_modules": "all-linear"},
    "one module of one layer": {"target_modules": ["layers.1.mlp.down_proj"]},
    "regex": {"target_modules": r".*\.[01]\.self_attn\.(q|k)_proj"},
    "one layer": {"layers_to_transform": [1]},
    "excluded": {"target_modules": "all-linear", "exclude_modules": ["down_proj", "k_proj"]},
    "patterns": {
        "target_modules": "all-linear",
        "rank_pattern": {"gate_proj": 16, r"layers\.0\..*_proj": 4, "q_proj": 2},
        "alpha_pattern": {"self_attn.v_proj": 64, "1.mlp.up_proj": 3},
    },
    "patterns, rank-stabilised": {
        "use_rslora": True,
        "rank_pattern": {"q_proj": 16},
        "alpha_pattern": {"^model.layers.0.self_attn.v_proj": 5},
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_scalings_are_those_of_peft_before_and_after_storing(
    kind: str, peft_adapter: MakeAdapter, registry: AdapterRegistry
) -> None:
    folder, expected = peft_adapter(**KINDS[kind])
    assert module_scalings(folder) == expected
    assert scalings(read_config(folder), expected) == expected
    stored, _ = registry.add("stored", folder)
    assert module_scalings(stored.path) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_peft_reads_the_stored_form_to_the_same_update(
    kind: str, peft_adapter: MakeAdapter, registry: AdapterRegistry, tiny_config: Any
) -> None:
    import torch
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    folder, expected = peft_adapter(**KINDS[kind])
    stored, _ = registry.add("stored", folder)

    def deltas(path: Path) -> dict[str, Any]:
        torch.manual_seed(0)
        model = PeftModel.from_pretrained(LlamaForCausalLM(tiny_config), str(path))
        return {
            name: module.get_delta_weight("default")
            for name, module in model.named_modules()
            if hasattr(module, "get_delta_weight")
        }

    before, after = deltas(folder), deltas(stored.path)
    assert before.keys() == after.keys()
    assert len(before) == len(expected)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(delta.abs().max() > 0 for delta in before.values())


@pytest.mark.parametrize(
    ("name", "module", "factor", "layer", "suffix"),
    [
        (
            "base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight",
            "model.layers.3.self_attn.q_proj",
            "A",
            3,
            "self_attn.q_proj",
        ),
        (
            "base_model.model.model.layers.10.mlp.up_proj.lora_B.default.weight",
            "model.layers.10.mlp.up_proj",
            "B",
            10,
            "mlp.up_proj",
        ),
        (
            "model.layers.0.mlp.up_proj.lora_B.weight",
            "model.layers.0.mlp.up_proj",
            "B",
            0,
            "mlp.up_proj",
        ),
        ("base_model.model.lm_head.lora_A.weight", "lm_head", "A", None, None),
        ("layers.0.mlp.up_proj.lora_A.weight", "layers.0.mlp.up_proj", "A", None, None),
    ],
)
def test_tensor_names(name: str, module: str, factor: str, layer: Any, suffix: Any) -> None:
    tensor = parse_tensor_name(name)
    assert (tensor.module, tensor.factor, tensor.layer, tensor.suffix) == (
        module,
        factor,
        layer,
        suffix,
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        "base_model.model.model.layers.0.self_attn.q_proj.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.bias",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.other.weight",
        "base_model.model.model.embed_tokens.lora_embedding_A",
        "lora_A.weight",
    ],
)
def test_names_that_are_no_lora_factor(name: str) -> None:
    with pytest.raises(UnknownTensor):
        parse_tensor_name(name)


def test_the_first_pattern_that_fits_counts() -> None:
    config = LoraConfigFacts(
        r=8,
        lora_alpha=8,
        target_modules="all-linear",
        rank_pattern={"up_proj": 2, r"mlp\..*": 4},
    )
    names = ["model.layers.0.mlp.up_proj", "model.layers.0.mlp.down_proj", "model.layers.0.x.q"]
    assert list(scalings(config, names).values()) == [4.0, 2.0, 1.0]


def test_a_pattern_fits_whole_segments_only() -> None:
    config = LoraConfigFacts(
        r=8, lora_alpha=8, target_modules="all-linear", rank_pattern={"proj": 2, "0.mlp": 2}
    )
    assert scalings(config, ["model.layers.10.mlp.up_proj"]) == {"model.layers.10.mlp.up_proj": 1.0}


def test_an_order_of_patterns_that_saving_lost_is_refused_rather_than_misread(
    peft_adapter: MakeAdapter, base: BaseModelShapes
) -> None:
    """PEFT sorts the patterns when it saves; with overlapping ones the meaning changes."""
    folder, _ = peft_adapter(rank_pattern={"q_proj": 4, "layers.1.self_attn.q_proj": 16})
    with pytest.raises(RankMismatch, match=r"layers\.1\.self_attn\.q_proj"):
        validate(folder, base, Limits())


def test_layers_restrict_suffixes_but_not_full_names_or_regexes() -> None:
    tensors = [parse_tensor_name(f"model.layers.{n}.mlp.up_proj.lora_A.weight") for n in (0, 1)]

    def targeted(targets: Any) -> list[int]:
        config = LoraConfigFacts(8, 8, targets, layers_to_transform=(1,))
        found = targeted_modules(config, tensors)
        return [tensor.layer or 0 for tensor in tensors if tensor.module in found]

    assert targeted(("up_proj",)) == [1]
    assert targeted(("model.layers.0.mlp.up_proj",)) == [0]
    assert targeted(r".*up_proj") == [0, 1]
    assert targeted(("p_proj",)) == []


def test_a_tensor_that_is_excluded_is_refused(
    peft_adapter: MakeAdapter, base: BaseModelShapes
) -> None:
    import json

    folder, _ = peft_adapter()
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(
        json.dumps(config | {"exclude_modules": ["q_proj"]})
    )
    with pytest.raises(TargetMismatch, match="q_proj"):
        validate(folder, base, Limits())


@pytest.mark.parametrize(
    "pattern",
    [
        "(unclosed",
        "[",
        "(?i)q_proj",
        "(?<=a*)x",
        "(?R)",
        "(?|a|b)",
        "(*FAIL)",
        r"\Kq",
        r"\p{Lu}",
        r"\L<names>",
        "x{99999999999999999999}",
        "(x)" * 4000,
        "(" * 3000 + ")" * 3000,
        r"(([a-z]|[a-z._0-9])+)+[0-9]",
    ],
)
def test_patterns_that_are_refused(pattern: str) -> None:
    config = LoraConfigFacts(8, 8, "all-linear", rank_pattern={pattern: 4})
    with pytest.raises(InvalidConfig):
        scalings(config, ["model.layers.0.self_attn.q_proj"])


def test_a_name_that_is_no_lora_factor_is_told() -> None:
    with pytest.raises(UnknownTensor) as caught:
        parse_tensor_name("lm_head.weight")
    assert str(caught.value) == (
        "tensor 'lm_head.weight' is not a LoRA factor of a linear layer; expected are names like "
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    )


@pytest.mark.parametrize(
    ("module", "layer"),
    [
        ("model.layers.3.self_attn.q_proj", 3),
        ("model.layers.0.mlp.up_proj", 0),
        ("model.layers.03.mlp.up_proj", None),
        ("model.layers.3", None),
        ("lm_head", None),
    ],
)
def test_the_layer_that_a_module_names(module: str, layer: int | None) -> None:
    assert layer_of(module) == layer


@pytest.mark.parametrize("factor", ["A", "B"])
def test_the_name_under_which_a_factor_is_saved_is_read_back(factor: Any) -> None:
    name = tensor_name("model.layers.3.self_attn.q_proj", factor)
    assert name == f"base_model.model.model.layers.3.self_attn.q_proj.lora_{factor}.weight"
    assert parse_tensor_name(name).factor == factor


@pytest.mark.parametrize(
    ("wrapped", "plain"),
    [
        ("module.model.x", "model.x"),
        ("_orig_mod.model.x", "model.x"),
        ("model._fsdp_wrapped_module.x._checkpoint_wrapped_module.y", "model.x.y"),
        ("_forward_module.x", "x"),
        ("model.module.x", "model.module.x"),
        ("model.x_orig_mod.y", "model.x_orig_mod.y"),
    ],
)
def test_what_training_puts_around_modules_is_taken_off(wrapped: str, plain: str) -> None:
    assert unwrapped(wrapped) == plain


def test_ranks_and_alphas_are_those_of_the_first_key_that_fits() -> None:
    config = LoraConfigFacts(
        8, 16.0, "all-linear", rank_pattern={"a": 2}, alpha_pattern={"b": 3.0, "a": 5.0}
    )
    assert resolve_ranks_and_alphas(config, ["x.a", "x.b", "x.c"]) == {
        "x.a": (2, 5.0),
        "x.b": (8, 3.0),
        "x.c": (8, 16.0),
    }


def targeted(**fields: Any) -> set[str]:
    """What a config selects of two modules in three layers, by layer and name."""
    names = [f"model.layers.{n}.{suffix}" for n in range(3) for suffix in ("mlp.up", "mlp.down")]
    tensors = [parse_tensor_name(f"{name}.lora_A.weight") for name in names]
    found = targeted_modules(LoraConfigFacts(8, 8, **fields), tensors)
    return {name.removeprefix("model.layers.").replace(".mlp.", " ") for name in found}


def test_modules_are_targeted_as_the_config_says() -> None:
    assert targeted(target_modules="all-linear", exclude_modules=("up",)) == {
        "0 down",
        "1 down",
        "2 down",
    }
    assert targeted(target_modules="all-linear", modules_to_save=("down", "x")) == {
        "0 up",
        "1 up",
        "2 up",
    }
    assert targeted(target_modules=("up",), layers_to_transform=frozenset({0, 2})) == {
        "0 up",
        "2 up",
    }
    restricted = {"target_modules": ("up",), "layers_to_transform": frozenset({2})}
    assert targeted(**restricted, layers_pattern=("blocks", "layers")) == {"2 up"}
    assert targeted(**restricted, layers_pattern=("blocks",)) == set()
    assert targeted(target_modules=("model.layers.1.mlp.up",), exclude_modules=("up",)) == set()
