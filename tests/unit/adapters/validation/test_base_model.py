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


SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


@pytest.mark.parametrize("key", [*SIZES, "num_key_value_heads", "head_dim"])
@pytest.mark.parametrize("value", [None, 0, -1, "64", 64.0, True])
def test_sizes_that_are_none(key: str, value: Any, tmp_path: Path) -> None:
    folder = write(tmp_path, **LLAMA | {key: value})
    if value is None and key not in SIZES:
        assert read_base_model(folder, "m") == read_base_model(write(tmp_path, **LLAMA), "m")
        return
    with pytest.raises(UnsupportedBaseModel) as caught:
        read_base_model(folder, "m")
    assert str(caught.value) == (
        f"config.json of the base model gives {key} = {str(value)!r}; a whole number ≥ 1 is needed "
        "to know the shapes of its layers"
    )


def test_the_smallest_model_that_there_is(tmp_path: Path) -> None:
    shapes = read_base_model(write(tmp_path, **LLAMA | dict.fromkeys(SIZES, 1)), "m")
    assert shapes.num_layers == 1
    assert set(shapes.linears.values()) == {(1, 1)}


@pytest.mark.parametrize(
    ("architectures", "shown"),
    [(None, "None"), ([], "None"), ("LlamaForCausalLM", "None"), ([3], "3"), (["Phi3"], "Phi3")],
)
def test_a_family_that_is_not_known_is_told(architectures: Any, shown: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedBaseModel) as caught:
        read_base_model(write(tmp_path, **LLAMA | {"architectures": architectures}), "m")
    assert str(caught.value) == (
        f"base model 'm' has the architecture {shown!r}, whose linear layers are not known here; "
        f"known are {', '.join(KNOWN_ARCHITECTURES)}"
    )


@pytest.mark.parametrize(
    ("fields", "aliases"),
    [
        ({}, ()),
        ({"_name_or_path": "org/a"}, ("org/a",)),
        ({"_model_name_or_path": "org/b"}, ("org/b",)),
        ({"_name_or_path": "org/a", "_model_name_or_path": "org/b"}, ("org/a",)),
        ({"_name_or_path": "", "_model_name_or_path": "org/b"}, ("org/b",)),
        ({"_name_or_path": 3}, ()),
    ],
)
def test_a_base_model_goes_by_its_folders_name_and_the_one_in_its_config(
    fields: dict[str, Any], aliases: tuple[str, ...], tmp_path: Path
) -> None:
    shapes = read_base_model(write(tmp_path, **LLAMA, **fields), "m")
    assert (shapes.name, shapes.folder) == ("m", tmp_path)
    assert shapes.aliases == (tmp_path.name, *aliases)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedBaseModel) as caught:
        read_base_model(tmp_path, "m")
    assert str(caught.value) == "base model 'm': config.json is missing"


def test_a_config_is_read_up_to_its_bound(tmp_path: Path) -> None:
    write(tmp_path, **LLAMA)
    file = tmp_path / "config.json"
    file.write_bytes(file.read_bytes().ljust(2**20))
    assert read_base_model(tmp_path, "m").num_layers == 30
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(UnsupportedBaseModel, match=r"^base model 'm': config\.json is larger than"):
        read_base_model(tmp_path, "m")
