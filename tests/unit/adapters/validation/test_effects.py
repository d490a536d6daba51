"""What is switched on, or lies beside the factors, is judged by what it would change."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from adapters.errors import InvalidAdapter, TargetMismatch, UnknownTensor, UnsupportedAdapter
from adapters.limits import Limits
from adapters.registry.registry import AdapterRegistry
from adapters.validation.base_model import BaseModelShapes, read_base_model
from adapters.validation.validate import validate

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
Q_PROJ = "model.layers.0.self_attn.q_proj"

FORMATS = [torch.float32, torch.float16, torch.bfloat16]
Bases = Callable[..., BaseModelShapes]


@pytest.fixture(scope="session")
def bases(tiny_config: Any, tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """Make a checkpoint: of a number format, in one file or several, with a tied head or not."""
    from tests.support.tiny_llama import small_config

    made: dict[object, BaseModelShapes] = {}

    def make(
        dtype: torch.dtype = torch.bfloat16,
        *,
        tied: bool = False,
        biased: bool = False,
        **save: Any,
    ) -> BaseModelShapes:
        key = (dtype, tied, biased, *save.items())
        if key not in made:
            torch.manual_seed(3)
            config = small_config(tie_word_embeddings=tied, attention_bias=biased)
            model = LlamaForCausalLM(config).to(dtype)
            for name, weight in model.named_parameters():
                if name.endswith(".bias"):
                    torch.nn.init.normal_(weight)
            folder = tmp_path_factory.mktemp("base") / "tiny-llama"
            model.save_pretrained(folder, **save)
            made[key] = read_base_model(folder, "tiny-llama")
        return made[key]

    return make


def tensors_of(base: BaseModelShapes) -> dict[str, torch.Tensor]:
    assert base.folder is not None
    found: dict[str, torch.Tensor] = {}
    for file in base.folder.glob("*.safetensors"):
        found |= load_file(file)
    return found


@pytest.fixture
def adapter(good_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """The good adapter with fields of its config, and tensors, changed or added."""

    def make(config: dict[str, Any] | None = None, **tensors: torch.Tensor) -> Path:
        folder = tmp_path / "adapter"
        shutil.copytree(good_folder, folder, dirs_exist_ok=True)
        written = json.loads((good_folder / CONFIG).read_text()) | (config or {})
        (folder / CONFIG).write_text(json.dumps(written))
        all_tensors = load_file(good_folder / WEIGHTS) | tensors
        save_file({n: t.contiguous().clone() for n, t in all_tensors.items()}, folder / WEIGHTS)
        return folder

    return make


@pytest.mark.parametrize("base_format", FORMATS, ids=str)
@pytest.mark.parametrize("adapter_format", FORMATS, ids=str)
@pytest.mark.parametrize("name", [HEAD, EMBEDDING, f"{Q_PROJ}.weight", "model.norm.weight"])
def test_a_tensor_equal_to_the_base_models_is_left_out_with_a_warning(
    base_format: torch.dtype,
    adapter_format: torch.dtype,
    name: str,
    bases: Bases,
    adapter: Callable[..., Path],
    good_folder: Path,
) -> None:
    base = bases(base_format)
    own = tensors_of(base)[name].to(adapter_format)
    facts = validate(adapter(**{PREFIX + name: own}), base, Limits())
    (warning,) = facts.warnings
    assert name in warning
    assert "left out" in warning
    assert facts.pairs.keys() == validate(good_folder, base, Limits()).pairs.keys()
    trained = own.clone()
    trained[-1] += 0.01 if trained.ndim == 1 else 0.01 * trained[-1].abs().max()
    with pytest.raises(UnknownTensor, match=r"trained.*save the adapter without it"):
        validate(adapter(**{PREFIX + name: trained}), base, Limits())


@pytest.mark.parametrize(
    "spelling",
    [
        *("base_model.model.lm_head.weight", "lm_head.weight"),
        "base_model.model.lm_head.modules_to_save.default.weight",
        "base_model.model.lm_head.modules_to_save.weight",
        "base_model.model.lm_head.original_module.weight",
        "base_model.model.lm_head.base_layer.weight",
    ],
)
@pytest.mark.parametrize(
    "checkpoint", [{}, {"max_shard_size": "20KB"}, {"tied": True}], ids=["one", "shards", "tied"]
)
def test_every_spelling_and_checkpoint_is_understood(
    spelling: str, checkpoint: dict[str, Any], bases: Bases, adapter: Callable[..., Path]
) -> None:
    base = bases(**checkpoint)
    tensors = tensors_of(base)
    own = tensors[EMBEDDING if checkpoint.get("tied") else HEAD]
    assert base.folder is not None
    assert len(list(base.folder.glob("*.safetensors"))) > 1 or "max_shard_size" not in checkpoint
    assert validate(adapter(**{spelling: own}), base, Limits()).warnings
    with pytest.raises(UnknownTensor):
        validate(adapter(**{spelling: own + 1}), base, Limits())


def test_tokens_that_were_added_are_not_dropped(bases: Bases, adapter: Callable[..., Path]) -> None:
    own = tensors_of(bases())[HEAD]
    more = torch.cat([own, own[:2]])
    with pytest.raises(UnknownTensor, match=r"shape \[130, 64\].*has \[128, 64\].*tokens added"):
        validate(adapter(**{PREFIX + HEAD: more}), bases(), Limits())


def test_a_module_that_the_base_model_lacks_is_refused(
    bases: Bases, adapter: Callable[..., Path]
) -> None:
    with pytest.raises(UnknownTensor, match=r"score\.weight.*no such tensor"):
        validate(adapter(**{PREFIX + "score.weight": torch.ones(2, 64)}), bases(), Limits())


def test_without_a_checkpoint_nothing_is_taken_for_equal(
    base: BaseModelShapes, bases: Bases, adapter: Callable[..., Path], tmp_path: Path
) -> None:
    folder = adapter(**{PREFIX + HEAD: tensors_of(bases())[HEAD]})
    assert base.folder is not None
    assert not list(base.folder.glob("*.safetensors"))
    with pytest.raises(UnknownTensor, match="no such tensor to compare"):
        validate(folder, base, Limits())
    (tmp_path / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{")
    broken = read_base_model_beside(base, tmp_path)
    with pytest.raises(UnknownTensor, match="no such tensor to compare"):
        validate(folder, broken, Limits())


def read_base_model_beside(base: BaseModelShapes, folder: Path) -> BaseModelShapes:
    assert base.folder is not None
    shutil.copy(base.folder / "config.json", folder)
    return read_base_model(folder, base.name)


def test_nan_is_equal_to_nothing(bases: Bases, adapter: Callable[..., Path]) -> None:
    own = tensors_of(bases())[HEAD].clone()
    own[3, 3] = torch.nan
    for dtype in FORMATS:
        with pytest.raises(InvalidAdapter):
            validate(adapter(**{PREFIX + HEAD: own.to(dtype)}), bases(), Limits())


BY_EFFECT: dict[str, dict[str, Any]] = {
    "modules_to_save": {"modules_to_save": ["lm_head", "embed_tokens"]},
    "one module to save": {"modules_to_save": "lm_head"},
    "bias": {"bias": "all"},
    "bias of the factors": {"bias": "lora_only"},
    "lora_bias": {"lora_bias": True},
    "fan_in_fan_out": {"fan_in_fan_out": True},
    "megatron_config": {"megatron_config": {"tensor_model_parallel_size": 1}},
    "trainable_token_indices": {"trainable_token_indices": [5, 6]},
    "velora_config": {"velora_config": {"num_groups": 64}},
}


@pytest.mark.parametrize("kind", BY_EFFECT)
def test_a_switch_without_effect_is_a_warning(
    kind: str, bases: Bases, adapter: Callable[..., Path], good_folder: Path
) -> None:
    (field,) = BY_EFFECT[kind]
    facts = validate(adapter(BY_EFFECT[kind]), bases(), Limits())
    (warning,) = facts.warnings
    assert warning.startswith("switched on")
    assert field in warning
    assert facts.pairs.keys() == validate(good_folder, bases(), Limits()).pairs.keys()


@pytest.mark.parametrize(
    "off",
    [
        {"bias": "none", "use_dora": False, "lora_bias": False, "modules_to_save": []},
        {"bias": None, "use_dora": None, "lora_bias": None, "modules_to_save": None},
        {"trainable_token_indices": {}, "layer_replication": [], "use_qalora": False},
    ],
)
def test_a_switch_that_is_off_is_not_worth_a_word(
    off: dict[str, Any], bases: Bases, adapter: Callable[..., Path]
) -> None:
    assert validate(adapter(off), bases(), Limits()).warnings == ()


def test_modules_that_peft_saved_untrained_are_left_out(
    bases: Bases, tmp_path: Path, registry: AdapterRegistry
) -> None:
    """What PEFT itself writes with ``modules_to_save``, and with a bias switched on."""
    from peft import LoraConfig, get_peft_model

    base = bases(torch.float32, biased=True)
    model = LlamaForCausalLM.from_pretrained(base.folder)
    options = {"target_modules": ["q_proj", "v_proj"], "init_lora_weights": False}
    saved = get_peft_model(
        model, LoraConfig(modules_to_save=["lm_head", "embed_tokens"], bias="all", **options)
    )
    saved.save_pretrained(tmp_path / "saved")
    written = load_file(tmp_path / "saved" / WEIGHTS)
    beside = {name for name in written if "lora_" not in name}
    assert len(beside) >= 4, "head, embedding and biases"
    facts = validate(tmp_path / "saved", base, Limits())
    left_out, switched_on = facts.warnings
    assert f"and {len(beside) - 3} more" in left_out
    assert "bias, modules_to_save" in switched_on
    name = next(name for name in beside if "q_proj" in name)
    save_file(written | {name: written[name] + 1}, tmp_path / "saved" / WEIGHTS)
    with pytest.raises(UnknownTensor, match=r"q_proj\.bias"):
        validate(tmp_path / "saved", base, Limits())


@pytest.mark.parametrize("name", [f"{Q_PROJ}.lora_B.bias", f"{Q_PROJ}.lora_B.default.bias"])
def test_a_bias_of_b_may_be_zero(name: str, bases: Bases, adapter: Callable[..., Path]) -> None:
    zero = torch.zeros(64)
    config = {"lora_bias": True}
    left_out, _ = validate(adapter(config, **{PREFIX + name: zero}), bases(), Limits()).warnings
    assert "all zeros, and left out" in left_out
    zero[63] = 1e-3
    with pytest.raises(UnsupportedAdapter, match="is not zero"):
        validate(adapter(config, **{PREFIX + name: zero}), bases(), Limits())


def test_factors_of_a_module_that_is_saved_whole_would_be_ignored_by_peft(
    bases: Bases, adapter: Callable[..., Path]
) -> None:
    with pytest.raises(TargetMismatch, match="q_proj"):
        validate(adapter({"modules_to_save": ["q_proj"]}), bases(), Limits())


@pytest.mark.parametrize("factor", ["A", "B"])
def test_factors_of_zeros_are_a_warning(
    factor: str, bases: Bases, adapter: Callable[..., Path], good_folder: Path
) -> None:
    names = [n for n in load_file(good_folder / WEIGHTS) if f".lora_{factor}." in n]
    zeros = {name: torch.zeros_like(load_file(good_folder / WEIGHTS)[name]) for name in names}
    (warning,) = validate(adapter(**zeros), bases(), Limits()).warnings
    assert f"lora_{factor}" in warning
    assert "changes nothing" in warning
    one = {names[0]: zeros[names[0]]}
    (warning,) = validate(adapter(**one), bases(), Limits()).warnings
    assert f"leaves 1 of its {len(names)} modules as they are" in warning
    assert names[0].removeprefix(PREFIX).partition(".lora_")[0] in warning


def test_what_is_left_out_is_not_part_of_the_content(
    bases: Bases,
    adapter: Callable[..., Path],
    good_folder: Path,
    locations: Any,
    open_registry: Callable[..., AdapterRegistry],
) -> None:
    registry = open_registry(locations, bases())
    plain, _ = registry.add("plain", good_folder)
    own = tensors_of(bases())[HEAD]
    folder = adapter({"modules_to_save": ["lm_head"]}, **{PREFIX + HEAD: own})
    with_head, _ = registry.add("with-head", folder)
    assert with_head.digest == plain.digest
    assert plain.warnings == ()
    assert len(with_head.warnings) == 2
