"""Several adapters merged into one that any LoRA server takes up; PEFT does the arithmetic.

No base model is needed: the rules look at A and B alone, so that PEFT is given a skeleton of empty
linear layers to put the adapters on.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, get_args

import torch
from peft import LoraConfig, LoraModel, get_peft_model_state_dict
from safetensors.torch import save
from torch import nn

from adapters.errors import AdapterError
from adapters.files import CONFIG_FILE, WEIGHTS_FILE, write_atomically
from adapters.format.factors import Factors, read_factors
from adapters.format.peft_format import read_config

Combination = Literal[
    "cat",
    "linear",
    "svd",
    "ties",
    "ties_svd",
    "dare_linear",
    "dare_ties",
    "dare_linear_svd",
    "dare_ties_svd",
    "magnitude_prune",
    "magnitude_prune_svd",
]
COMBINATIONS: Final[tuple[Combination, ...]] = get_args(Combination)
PRUNING: Final = tuple(name for name in COMBINATIONS if name not in ("cat", "linear", "svd"))
"""Those that leave entries out and need a density."""

RECORD_FILE: Final = "merge.json"
_MERGED = "default"
_LEAST = 2


class CannotMerge(AdapterError):
    """The adapters, the rule or the output folder do not allow the merge."""

    code = "cannot_merge"


@dataclass(frozen=True, slots=True)
class Rule:
    """How adapters are merged.

    Attributes:
        combination: PEFT's ``combination_type``. ``cat`` is Σ wᵢΔᵢ exactly, at the sum of the
            ranks; ``linear`` is (Σ √(wᵢsᵢ) Bᵢ)(Σ √(wᵢsᵢ) Aᵢ), with cross terms.
        density: share of the entries that is kept, from 0 to 1, for those that leave some out.
        rank: of the result, for ``svd``; the largest rank of the adapters if None.
        seed: of what is left out at random (``dare``).
    """

    combination: Combination = "cat"
    density: float | None = None
    rank: int | None = None
    seed: int = 0


def merge(weights: Mapping[Path, float], rule: Rule, out: Path) -> int:
    """Merge adapters into a new folder; returns the rank of the result.

    Args:
        weights: adapter's folder → its weight; two at least.
        rule: how.
        out: a folder to make; its tensors are in fp32, so that cat and linear lose nothing.

    Raises:
        AdapterError: an adapter cannot be read, they do not fit each other or the rule, or the
            folder is there already.
    """
    _check(weights, rule, out)
    factors = {folder: _factors(folder) for folder in weights}
    model = _loaded(factors)
    torch.manual_seed(rule.seed)
    names = [f"a{number}" for number in range(len(weights))]
    try:
        model.add_weighted_adapter(
            names,
            list(weights.values()),
            _MERGED,
            combination_type=rule.combination,
            svd_rank=rule.rank,
            density=rule.density,
        )
    except ValueError as error:
        raise CannotMerge(f"{rule.combination}: {str(error).splitlines()[0]}") from error
    _write(model, weights, rule, out)
    return int(model.peft_config[_MERGED].r)


def _check(weights: Mapping[Path, float], rule: Rule, out: Path) -> None:
    if len(weights) < _LEAST:
        raise CannotMerge("name two adapters or more")
    if out.exists():
        raise CannotMerge(f"{out} already exists; choose another --out")
    if rule.combination in PRUNING and rule.density is None:
        raise CannotMerge(
            f"{rule.combination} drops entries and needs --density, the share that it keeps, such "
            "as 0.7"
        )
    if rule.combination not in PRUNING and rule.density is not None:
        raise CannotMerge(f"{rule.combination} keeps every entry; leave out --density")
    if rule.density is not None and not 0 < rule.density <= 1:
        raise CannotMerge(f"a density is a share above 0 and up to 1, not {rule.density}")
    if rule.rank is not None and not rule.combination.endswith("svd"):
        raise CannotMerge(
            f"--rank works with the svd combinations only, not with {rule.combination}"
        )
    negative = [folder for folder, weight in weights.items() if weight < 0]
    if negative and rule.combination not in ("cat", "svd"):
        raise CannotMerge(
            f"{rule.combination} takes the square root of each weight, and that of {negative[0]} "
            "is below 0"
        )


def _factors(folder: Path) -> Mapping[str, Factors]:
    try:
        return read_factors(folder)
    except AdapterError as error:
        raise CannotMerge(f"{folder}: {error}") from error


def _loaded(factors: Mapping[Path, Mapping[str, Factors]]) -> LoraModel:
    """A skeleton with the adapters a0, a1, … on it, each at scaling 1.

    The root of an adapter's scaling goes into A and into B, where PEFT's rules put it as well; a
    module of lower rank than the adapter's others is filled up with zeros.
    """
    skeleton = nn.Module()
    for folder, modules in factors.items():
        for path, module in modules.items():
            _add_linear(skeleton, path, module, folder)
    configs = {f"a{number}": _config(modules) for number, modules in enumerate(factors.values())}
    first = next(iter(configs))
    model = LoraModel(skeleton, {first: configs[first]}, first)
    for name, config in configs.items():
        if name != first:
            model.peft_config[name] = config
            model.inject_adapter(skeleton, name)
    for name, modules in zip(configs, factors.values(), strict=True):
        for path, module in modules.items():
            _fill(skeleton.get_submodule(path), name, module)
    return model


def _add_linear(skeleton: nn.Module, path: str, module: Factors, folder: Path) -> None:
    """A linear layer of the module's shape at its path, whose weight takes no memory."""
    *parents, last = path.split(".")
    parent = skeleton
    for part in parents:
        if not hasattr(parent, part):
            parent.add_module(part, nn.Module())
        parent = parent.get_submodule(part)
    shape = (module.b.shape[0], module.a.shape[1])
    known = getattr(parent, last, None)
    if known is None:
        linear = nn.Linear(shape[1], shape[0], bias=False, device="meta")
        linear.weight = nn.Parameter(torch.zeros(()).expand(shape), requires_grad=False)
        parent.add_module(last, linear)
    elif tuple(known.weight.shape) != shape:
        raise CannotMerge(
            f"{folder}: {path} is {shape[1]} to {shape[0]} wide, and in another adapter "
            f"{known.weight.shape[1]} to {known.weight.shape[0]}: they are of different base models"
        )


def _config(modules: Mapping[str, Factors]) -> LoraConfig:
    rank = max(module.a.shape[0] for module in modules.values())
    return LoraConfig(r=rank, lora_alpha=rank, target_modules=list(modules))


def _fill(layer: nn.Module, name: str, module: Factors) -> None:
    """Put an adapter's factors into a PEFT layer."""
    root, rank = module.scaling**0.5, module.a.shape[0]
    a, b = (layer.get_parameter(f"lora_{factor}.{name}.weight").data for factor in ("A", "B"))
    a.zero_()
    b.zero_()
    a[:rank] = root * module.a
    b[:, :rank] = root * module.b


def _write(model: LoraModel, weights: Mapping[Path, float], rule: Rule, out: Path) -> None:
    """The merged adapter, its weights last: a folder with weights is a whole one."""
    found = get_peft_model_state_dict(model, adapter_name=_MERGED, save_embedding_layers=False)
    tensors = {f"base_model.{key}": tensor.float().contiguous() for key, tensor in found.items()}
    rank = model.peft_config[_MERGED].r
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=sorted({key.split(".lora_")[0].rpartition(".")[2] for key in found}),
        task_type="CAUSAL_LM",
        base_model_name_or_path=read_config(next(iter(weights))).base_model,
        inference_mode=True,
    )
    record = {
        "combination": rule.combination,
        "density": rule.density,
        "seed": rule.seed,
        "adapters": [
            {"name": folder.resolve().name, "weight": weight, "sha256": _digest(folder)}
            for folder, weight in weights.items()
        ],
    }
    out.mkdir(parents=True)
    write_atomically(out / RECORD_FILE, f"{json.dumps(record, indent=2)}\n".encode())
    write_atomically(out / CONFIG_FILE, f"{json.dumps(_plain(config), indent=2)}\n".encode())
    write_atomically(out / WEIGHTS_FILE, save(tensors, metadata={"format": "pt"}))


def _plain(config: LoraConfig) -> dict[str, Any]:
    """The config as PEFT writes it."""
    found: dict[str, Any] = config.to_dict()
    return {key: sorted(value) if isinstance(value, set) else value for key, value in found.items()}


def _digest(folder: Path) -> str:
    return sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
