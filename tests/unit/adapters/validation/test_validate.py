"""Good adapters of every sort pass, and validation tells what they are."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapters.errors import (
    ExtremeWeights,
    IncompatibleBase,
    NonFiniteWeights,
    RankTooLarge,
    ShapeMismatch,
)
from adapters.limits import Limits
from adapters.registry.registry import AdapterRegistry
from adapters.store.canonical import digest_of
from adapters.validation.base_model import BaseModelShapes
from adapters.validation.validate import validate
from tests.support.safetensors_bytes import RawTensor, parse, serialise

MakeAdapter = Callable[..., tuple[Path, dict[str, float]]]


def test_facts_of_a_mixed_adapter(peft_adapter: MakeAdapter, base: BaseModelShapes) -> None:
    folder, _ = peft_adapter(
        target_modules=["q_proj", "k_proj", "down_proj"], rank_pattern={"q_proj": 4}, r=16
    )
    facts = validate(folder, base, Limits())
    assert facts.ranks == (4, 16)
    assert facts.rank == 16
    assert facts.target_modules == ("mlp.down_proj", "self_attn.k_proj", "self_attn.q_proj")
    assert facts.parameters == 2 * (4 * (64 + 64) + 16 * (64 + 32) + 16 * (96 + 64))
    assert facts.config.lora_alpha == 16


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_weights_are_kept_bit_for_bit_in_every_number_format(
    dtype: str, peft_adapter: MakeAdapter, registry: AdapterRegistry
) -> None:
    import torch

    folder, _ = peft_adapter(dtype=getattr(torch, dtype))
    stored, _ = registry.add("stored", folder)
    before = parse((folder / "adapter_model.safetensors").read_bytes())
    after = parse((stored.path / "adapter_model.safetensors").read_bytes())
    assert before == after
    assert {t.dtype for t in after.values()} == {
        {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[dtype]
    }


def test_names_with_and_without_prefix_have_one_digest(
    good_folder: Path, registry: AdapterRegistry, tmp_path: Path
) -> None:
    tensors = parse((good_folder / "adapter_model.safetensors").read_bytes())
    forms: list[Callable[[str], str]] = [
        lambda name: name,
        lambda name: name.removeprefix("base_model.model."),
        lambda name: name.replace(".weight", ".default.weight"),
    ]
    digests = set()
    for number, form in enumerate(forms):
        folder = tmp_path / str(number)
        folder.mkdir()
        config = (good_folder / "adapter_config.json").read_bytes()
        (folder / "adapter_config.json").write_bytes(config)
        shuffled = {form(name): tensors[name] for name in sorted(tensors, reverse=number == 1)}
        (folder / "adapter_model.safetensors").write_bytes(serialise(shuffled))
        adapter, _ = registry.add(f"form{number}", folder)
        digests.add(adapter.digest)
        assert digest_of(adapter.path) == adapter.digest
    assert len(digests) == 1


def test_other_weights_or_another_alpha_have_another_digest(
    peft_adapter: MakeAdapter, registry: AdapterRegistry
) -> None:
    folders = [peft_adapter()[0], peft_adapter(seed=1)[0], peft_adapter(lora_alpha=17)[0]]
    assert len({registry.add(f"a{i}", f)[0].digest for i, f in enumerate(folders)}) == 3


@pytest.mark.parametrize(
    ("dtype", "numpy_type"), [("F32", np.uint32), ("F16", np.uint16), ("BF16", np.uint16)]
)
@pytest.mark.parametrize(
    ("exponent", "mantissa", "sign"),
    [("ones", 0, 0), ("ones", 0, 1), ("ones", 1, 0), ("ones", 5, 1)],
)
def test_nan_and_infinity_are_found_wherever_they_are(
    dtype: str,
    numpy_type: type[np.unsignedinteger],
    exponent: str,
    mantissa: int,
    sign: int,
    good_folder: Path,
    base: BaseModelShapes,
    tmp_path: Path,
) -> None:
    width, fraction = {"F32": (32, 23), "F16": (16, 10), "BF16": (16, 7)}[dtype]
    bad = (sign << (width - 1)) | ((2 ** (width - 1 - fraction) - 1) << fraction) | mantissa
    tensors = parse((good_folder / "adapter_model.safetensors").read_bytes())
    converted = {
        name: RawTensor(dtype, t.shape, bytes(t.shape[0] * t.shape[1] * width // 8))
        for name, t in tensors.items()
    }
    (tmp_path / "adapter_config.json").write_bytes(
        (good_folder / "adapter_config.json").read_bytes()
    )
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(serialise(converted))
    validate(tmp_path, base, Limits())

    last = list(converted)[-1]
    numbers = np.zeros(converted[last].shape, numpy_type)
    numbers[-1, -1] = bad
    weights.write_bytes(
        serialise(converted | {last: replace(converted[last], data=numbers.tobytes())})
    )
    with pytest.raises(NonFiniteWeights):
        validate(tmp_path, base, Limits())


def test_magnitude_counts_with_the_scaling(
    peft_adapter: MakeAdapter, base: BaseModelShapes
) -> None:
    folder, _ = peft_adapter(lora_alpha=10**9)
    with pytest.raises(ExtremeWeights, match="lora_B"):
        validate(folder, base, Limits())


def test_the_rank_limit_is_the_servers(peft_adapter: MakeAdapter, base: BaseModelShapes) -> None:
    folder, _ = peft_adapter(r=32)
    assert validate(folder, base, Limits(max_lora_rank=32)).rank == 32
    with pytest.raises(RankTooLarge, match="up to 16"):
        validate(folder, base, Limits(max_lora_rank=16))


@pytest.mark.parametrize(
    ("declared", "is_accepted"),
    [
        (None, True),
        ("", True),
        ("tiny-llama", True),
        ("Some-Org/Tiny-Llama", True),
        ("/home/ann/models/tiny-llama/", True),
        ("./checkpoint-500", True),
        ("/mnt/run7/merged", True),
        (r"C:\models\merged", True),
        ("/h/hub/models--org--tiny-llama/snapshots/0123abcd", True),
        ("/h/hub/models--org--other-7b/snapshots/0123abcd", False),
        ("other-7b", False),
        ("org/other-7b", False),
    ],
)
def test_the_base_model_is_told_by_its_name(
    declared: str | None,
    is_accepted: bool,
    good_folder: Path,
    base: BaseModelShapes,
    tmp_path: Path,
) -> None:
    config = json.loads((good_folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = declared
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    weights = (good_folder / "adapter_model.safetensors").read_bytes()
    (tmp_path / "adapter_model.safetensors").write_bytes(weights)
    if is_accepted:
        assert validate(tmp_path, base, Limits()).warnings == ()
        return
    with pytest.raises(IncompatibleBase, match=r"other-7b.*the setting accepted_bases"):
        validate(tmp_path, base, Limits())
    validate(tmp_path, base, Limits(accepted_bases=frozenset({"any/Other-7B"})))


COPIES = [
    *(
        "unsloth/Tiny-Llama-bnb-4bit",
        "unsloth/tiny-llama-unsloth-bnb-4bit",
        "x/tiny-llama-bnb-8bit",
    ),
    *("x/Tiny-Llama-GPTQ", "x/tiny-llama-GPTQ-Int4", "x/tiny-llama-gptq-4bit-128g"),
    *("x/tiny-llama-AWQ", "x/tiny-llama-AWQ-INT4", "x/tiny-llama-GGUF", "tiny-llama.Q8_0.gguf"),
    *("x/tiny-llama-Q4_K_M-GGUF", "x/tiny-llama-i1-GGUF", "x/tiny-llama-IQ4_XS"),
    *("x/tiny-llama-FP8", "x/tiny-llama-FP8-dynamic", "x/tiny-llama-FP8-KV", "x/tiny-llama-NVFP4"),
    *("x/tiny-llama-quantized.w4a16", "x/tiny-llama-quantized.w8a8", "x/tiny-llama-int8"),
    *(
        "mlx-community/tiny-llama-4bit",
        "mlx-community/tiny-llama-4bit-DWQ",
        "x/tiny-llama-HQQ-4bit",
    ),
    *("x/tiny-llama-AQLM-2Bit-1x16", "x/tiny-llama-4.0bpw-exl2", "x/tiny-llama-6.5bpw-h8-exl3"),
    *("x/tiny-llama-bf16", "x/tiny-llama-hf", "x/tiny-llama_nf4", "x/tiny-llama-mlx-8bit"),
    "/h/hub/models--unsloth--tiny-llama-bnb-4bit/snapshots/0123abcd",
]


def declaring(name: str, good_folder: Path, folder: Path) -> Path:
    """The good adapter, said to be made for another base model."""
    config = json.loads((good_folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = name
    (folder / "adapter_config.json").write_text(json.dumps(config))
    weights = (good_folder / "adapter_model.safetensors").read_bytes()
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder


@pytest.mark.parametrize("declared", COPIES)
def test_a_quantised_copy_is_the_same_base_model_if_shapes_fit(
    declared: str, good_folder: Path, base: BaseModelShapes, tmp_path: Path
) -> None:
    folder = declaring(declared, good_folder, tmp_path)
    (warning,) = validate(folder, base, Limits()).warnings
    assert "copy of the base model" in warning
    original = declaring("org/tiny-llama", good_folder, tmp_path)
    assert validate(original, replace(base, name=declared, aliases=()), Limits()).warnings
    narrow = {suffix: (out, width // 2) for suffix, (out, width) in base.linears.items()}
    folder = declaring(declared, good_folder, tmp_path)
    with pytest.raises(ShapeMismatch):
        validate(folder, replace(base, linears=narrow), Limits())


@pytest.mark.parametrize(
    "declared",
    [
        *("x/tiny-llama-v2", "x/tiny-llama-instruct", "x/tiny-llama-instruct-bnb-4bit"),
        *(
            "x/tiny-llama-7b-GPTQ",
            "x/tiny-llama2-AWQ",
            "x/tiny-4bit",
            "bnb-4bit",
            "x/tiny-llama-4bits-x",
        ),
        "x/tiny-llama" + "-bnb" * 200,
    ],
)
def test_another_model_is_not_taken_for_a_copy(
    declared: str, good_folder: Path, base: BaseModelShapes, tmp_path: Path
) -> None:
    with pytest.raises(IncompatibleBase):
        validate(declaring(declared, good_folder, tmp_path), base, Limits())
