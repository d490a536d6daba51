"""Shapes read from config.json are those of the real modules."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import UnsupportedBaseModel
from adapters.validation.base_model import KNOWN_ARCHITECTURES, read_base_model


@pytest.mark.parametrize("architecture", KNOWN_ARCHITECTURES)
@pytest.mark.parametrize("sizes", [{}, {"head_dim": 24}], ids=["default head", "own head"])
def test_shapes_are_those_of_the_model_itself(
    architecture: str, sizes: dict[str, int], tmp_path: Path
) -> None:
    import torch
    import transformers

    from tests.support.tiny_llama import small_config

    config = small_config(architecture, num_hidden_layers=3, **sizes)
    config.save_pretrained(tmp_path)
    with torch.device("meta"):
        model = getattr(transformers, architecture)(config)
    shapes = read_base_model(tmp_path, "m")
    assert shapes.num_layers == 3
    assert shapes.architecture == architecture
    for layer in range(3):
        for suffix, expected in shapes.linears.items():
            module = model.get_submodule(f"model.layers.{layer}.{suffix}")
            assert (module.out_features, module.in_features) == expected
    linears = {name for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    assert len(linears - {"lm_head"}) == 3 * len(shapes.linears)


def write(folder: Path, **config: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
}


def test_heads_without_grouping_where_the_config_is_silent(tmp_path: Path) -> None:
    shapes = read_base_model(write(tmp_path, **LLAMA), "m")
    assert shapes.linears["self_attn.k_proj"] == (576, 576)
    grouped = read_base_model(write(tmp_path, **LLAMA, num_key_value_heads=3), "m")
    assert grouped.linears["self_attn.k_proj"] == (192, 576)


def test_an_unknown_family_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedBaseModel, match=r"Phi3ForCausalLM.*LlamaForCausalLM"):
        read_base_model(write(tmp_path, **LLAMA | {"architectures": ["Phi3ForCausalLM"]}), "m")


@pytest.mark.parametrize("value", [None, 0, -1, "64", 64.0, True])
def test_sizes_that_are_none(value: Any, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedBaseModel, match="hidden_size"):
        read_base_model(write(tmp_path, **LLAMA | {"hidden_size": value}), "m")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedBaseModel, match=r"config\.json is missing") as caught:
        read_base_model(tmp_path, "m")
    assert str(tmp_path) not in str(caught.value)
