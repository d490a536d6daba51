"""What is found out about a small adapter, the bounds it is held to, and how it is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.errors import (
    EmptyAdapter,
    ExtremeWeights,
    IncompatibleBase,
    InvalidAdapter,
    LayerOutOfRange,
    MalformedFile,
    MissingPair,
    NonFiniteWeights,
    RankMismatch,
    RankTooLarge,
    ShapeMismatch,
    TargetMismatch,
    TooLarge,
    UnsafeFile,
    UnsupportedModule,
)
from adapters.format.safetensors_header import TensorSpec
from adapters.limits import Limits
from adapters.validation.base_model import BaseModelShapes
from adapters.validation.validate import LoraPair, inspect, validate
from tests.support.safetensors_bytes import RawTensor, serialise

BASE = BaseModelShapes(
    "tiny", "LlamaForCausalLM", 2, {"self_attn.q_proj": (4, 6), "mlp.up_proj": (8, 6)}
)
Q, UP = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"
PREFIX = "base_model.model."
Tensors = dict[str, RawTensor | None]


def raw(*shape: int, value: float = 1.0) -> RawTensor:
    return RawTensor("F32", shape, np.full(shape, value, "<f4").tobytes())


GOOD: dict[str, RawTensor] = {
    f"{PREFIX}{UP}.lora_B.weight": raw(8, 2),
    f"{PREFIX}{UP}.lora_A.weight": raw(2, 6),
    f"{PREFIX}{Q}.lora_A.weight": raw(4, 6),
    f"{PREFIX}{Q}.lora_B.weight": raw(4, 4),
}
CONFIG = {
    "peft_type": "LORA",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q_proj", "up_proj"],
    "rank_pattern": {"up_proj": 2},
    "alpha_pattern": {"up_proj": 3},
}


def written(folder: Path, tensors: Tensors | None = None, **config: Any) -> Path:
    """The good adapter with tensors and fields changed, added or (None) left out."""
    folder.mkdir(exist_ok=True)
    merged = {**GOOD, **(tensors or {})}
    weights = serialise({name: one for name, one in merged.items() if one is not None})
    (folder / "adapter_model.safetensors").write_bytes(weights)
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | config))
    return folder


def refusal(
    kind: type[InvalidAdapter],
    folder: Path,
    limits: Limits | None = None,
) -> str:
    with pytest.raises(kind) as caught:
        validate(folder, BASE, limits or Limits())
    return str(caught.value)


def only(name: str, *shapes: tuple[int, ...]) -> Tensors:
    """Factors of one module alone."""
    factors = zip("AB", shapes, strict=False)
    gone: Tensors = dict.fromkeys(GOOD)
    return gone | {f"{PREFIX}{name}.lora_{factor}.weight": raw(*shape) for factor, shape in factors}


def test_facts_of_an_adapter(tmp_path: Path) -> None:
    facts = validate(written(tmp_path), BASE, Limits())
    assert facts == inspect(tmp_path, BASE, Limits())
    assert list(facts.pairs.items()) == [
        (
            Q,
            LoraPair(
                "self_attn.q_proj",
                4,
                8.0,
                2.0,
                TensorSpec("F32", (4, 6), 112, 208),
                TensorSpec("F32", (4, 4), 208, 272),
            ),
        ),
        (
            UP,
            LoraPair(
                "mlp.up_proj",
                2,
                3.0,
                1.5,
                TensorSpec("F32", (2, 6), 64, 112),
                TensorSpec("F32", (8, 2), 0, 64),
            ),
        ),
    ]
    assert facts.config.r == 4
    assert facts.data_start == (tmp_path / "adapter_model.safetensors").stat().st_size - 272
    assert (facts.extras, facts.warnings) == ({}, ())
    assert (facts.ranks, facts.rank, facts.parameters) == ((2, 4), 4, 24 + 16 + 12 + 16)
    assert facts.target_modules == ("mlp.up_proj", "self_attn.q_proj")


def test_bounds_of_files_and_ranks_are_within_what_is_taken(tmp_path: Path) -> None:
    written(tmp_path)
    config, weights = (
        (tmp_path / name).stat().st_size
        for name in ("adapter_config.json", "adapter_model.safetensors")
    )
    header = weights - 272 - 8
    exact = Limits(
        max_lora_rank=4,
        max_config_bytes=config,
        max_weights_bytes=weights,
        max_header_bytes=header,
        max_abs_weight=2.0,
    )
    assert validate(tmp_path, BASE, exact).rank == inspect(tmp_path, BASE, exact).rank == 4
    for field, words in (
        ("max_config_bytes", f"adapter_config.json is larger than {config - 1} bytes"),
        (
            "max_weights_bytes",
            f"adapter_model.safetensors has {weights} bytes; {weights - 1} are allowed",
        ),
        (
            "max_header_bytes",
            f"the header of adapter_model.safetensors has {header} bytes; {header - 1} are allowed",
        ),
    ):
        limits = Limits(**{field: getattr(exact, field) - 1})
        assert refusal(TooLarge, tmp_path, limits) == words
        with pytest.raises(TooLarge):
            inspect(tmp_path, BASE, limits)
    assert refusal(RankTooLarge, tmp_path, Limits(max_lora_rank=3)) == (
        "the adapter has rank 4; this server takes ranks up to 3"
    )


@pytest.mark.parametrize(
    ("tensors", "limit", "words"),
    [
        ({}, 1.9, f"{PREFIX}{Q}.lora_B.weight reaches 1 with scaling 2; at most 1.9 is served"),
        (
            {f"{PREFIX}{Q}.lora_A.weight": raw(4, 6, value=-3.0)},
            2.5,
            f"{PREFIX}{Q}.lora_A.weight reaches 3 with scaling 1; at most 2.5 is served",
        ),
    ],
)
def test_numbers_beyond_the_bound_are_told(
    tensors: Tensors, limit: float, words: str, tmp_path: Path
) -> None:
    folder = written(tmp_path, tensors)
    assert refusal(ExtremeWeights, folder, Limits(max_abs_weight=limit)) == words


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", GOOD)
def test_a_factor_that_is_not_finite_is_named(name: str, value: float, tmp_path: Path) -> None:
    tensors: Tensors = {name: GOOD[name].filled(np.float32(value).tobytes())}
    assert refusal(NonFiniteWeights, written(tmp_path, tensors)) == f"{name} holds NaN or infinity"


def test_an_adapter_without_factors_is_told(tmp_path: Path) -> None:
    words = "adapter_model.safetensors holds no LoRA factors at all"
    assert refusal(EmptyAdapter, written(tmp_path, dict.fromkeys(GOOD))) == words


def test_factors_that_the_config_does_not_select_are_told(tmp_path: Path) -> None:
    assert refusal(TargetMismatch, written(tmp_path, target_modules=["q_proj"])) == (
        f"the weights hold '{UP}', which target_modules of adapter_config.json does not select; "
        "PEFT would ignore it"
    )


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt"])
def test_pickled_weights_alone_are_told(name: str, tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / name).write_bytes(b"\x80\x02.")
    validate(tmp_path, BASE, Limits())
    (tmp_path / "adapter_model.safetensors").unlink()
    assert refusal(UnsafeFile, tmp_path) == (
        "the weights are a pickled PyTorch file, which can run code when loaded; save the adapter "
        "as adapter_model.safetensors"
    )


SERVED = "self_attn.q_proj, mlp.up_proj"
SHARED = " (the embedding and the output head are shared by all requests)"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("lm_head", f"served are {SERVED} of model.layers.0 … 1{SHARED}"),
        ("model.embed_tokens", f"served are {SERVED} of model.layers.0 … 1{SHARED}"),
        ("score", f"served are {SERVED} of model.layers.0 … 1"),
        ("model.layers.0.mlp.gate", f"served modules are {SERVED}"),
    ],
)
def test_a_module_that_is_not_served_is_told(module: str, words: str, tmp_path: Path) -> None:
    folder = written(tmp_path, only(module, (4, 6), (4, 4)), target_modules=[module])
    assert refusal(UnsupportedModule, folder) == f"the adapter touches '{module}'; {words}"


def test_layers_are_numbered_from_0(tmp_path: Path) -> None:
    name = "model.layers.{}.self_attn.q_proj"
    assert (
        validate(written(tmp_path, only(name.format(1), (4, 6), (4, 4))), BASE, Limits()).rank == 4
    )
    folder = written(tmp_path, only(name.format(2), (4, 6), (4, 4)))
    assert refusal(LayerOutOfRange, folder) == (
        "the adapter touches layer 2; the base model 'tiny' has 2 layers, numbered from 0"
    )


def test_a_factor_that_is_given_twice_is_told(tmp_path: Path) -> None:
    tensors: Tensors = {f"{Q}.lora_B.default.weight": raw(4, 4)}
    words = f"lora_B of {Q} is given twice"
    assert refusal(MalformedFile, written(tmp_path, tensors)) == words


@pytest.mark.parametrize("factor", ["A", "B"])
def test_a_factor_without_the_other_is_told(factor: str, tmp_path: Path) -> None:
    folder = written(tmp_path, {f"{PREFIX}{Q}.lora_{factor}.weight": None})
    assert refusal(MissingPair, folder) == f"{Q} has no lora_{factor}: both factors are needed"


GATHER = " (DeepSpeed's ZeRO-3 leaves partitioned weights empty: gather them before saving)"


@pytest.mark.parametrize(
    ("factor", "shape", "needed"),
    [
        ("A", (4, 5), "[4, 6]"),
        ("A", (6,), "[4, 6]"),
        ("A", (4, 6, 1), "[4, 6]"),
        ("A", (0,), f"[4, 6]{GATHER}"),
        ("B", (6, 4), "[4, 4]"),
        ("B", (4,), "[4, 4]"),
        ("B", (4, 4, 1), "[4, 4]"),
        ("B", (0,), f"[4, 4]{GATHER}"),
    ],
)
def test_a_factor_of_another_shape_is_told(
    factor: str, shape: tuple[int, ...], needed: str, tmp_path: Path
) -> None:
    name = f"{PREFIX}{Q}.lora_{factor}.weight"
    assert refusal(ShapeMismatch, written(tmp_path, {name: raw(*shape)})) == (
        f"{name} has shape {list(shape)}; the base model needs {needed}"
    )


@pytest.mark.parametrize(("a", "b"), [(4, 3), (3, 4), (3, 3)])
def test_factors_of_another_rank_than_the_configs_are_told(a: int, b: int, tmp_path: Path) -> None:
    tensors = only(Q, (a, 6), (4, b))
    assert refusal(RankMismatch, written(tmp_path, tensors)) == (
        f"the factors of {Q} have ranks {a} (A) and {b} (B); adapter_config.json gives the module "
        "rank 4"
    )


def zero(*names: str) -> Tensors:
    return {name: RawTensor("F32", GOOD[name].shape, bytes(len(GOOD[name].data))) for name in names}


def test_modules_that_are_left_as_they_are_are_counted(tmp_path: Path) -> None:
    factors = [f"{PREFIX}{Q}.lora_{factor}.weight" for factor in "AB"]
    for tensors, factor in ((zero(factors[1]), "B"), (zero(*factors), "A")):
        assert validate(written(tmp_path, tensors), BASE, Limits()).warnings == (
            f"the adapter leaves 1 of its 2 modules as they are: lora_{factor} of {Q} is all zeros",
        )
    tensors = zero(factors[0], f"{PREFIX}{UP}.lora_B.weight")
    assert validate(written(tmp_path, tensors), BASE, Limits()).warnings == (
        f"the adapter changes nothing: lora_A of {Q} and its like are all zeros; was it trained?",
    )


def test_warnings_come_in_the_order_in_which_an_adapter_is_judged(tmp_path: Path) -> None:
    tensors = zero(f"{PREFIX}{Q}.lora_B.weight") | {f"{PREFIX}{Q}.lora_B.bias": raw(4, value=0)}
    folder = written(
        tmp_path, tensors, base_model_name_or_path="org/tiny-gptq", lora_bias=True, bias="all"
    )
    assert validate(folder, BASE, Limits()).warnings == (
        "the adapter was trained on 'org/tiny-gptq', another copy of the base model by its name; "
        "here it changes 'tiny', so answers may differ a little from those in training",
        f"'{PREFIX}{Q}.lora_B.bias': all zeros, and left out",
        "switched on in adapter_config.json, without effect here: bias, lora_bias",
        f"the adapter leaves 1 of its 2 modules as they are: lora_B of {Q} is all zeros",
    )


def test_an_adapter_of_another_base_model_is_told(tmp_path: Path) -> None:
    folder = written(tmp_path, base_model_name_or_path="org/Other-7B")
    assert refusal(IncompatibleBase, folder) == (
        "the adapter was made for 'org/Other-7B'; this server runs 'tiny'. If it is the same model "
        "under another name, add that name to the setting accepted_bases"
    )
