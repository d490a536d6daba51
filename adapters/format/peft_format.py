"""The names and numbers of a PEFT LoRA: which tensor belongs where, and how strongly it counts.

An adapter's update of a module is ``s·B·A`` with A ``[r, in]`` and B ``[out, r]``. The scaling is
``s = lora_alpha / r``, or ``lora_alpha / √r`` for rank-stabilised LoRA (Kalajdzievski, "A Rank
Stabilization Scaling Factor for Fine-Tuning with LoRA", 2023); ``rank_pattern`` and
``alpha_pattern`` override r and lora_alpha for single modules.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adapters.errors import UnknownTensor, shown
from adapters.files import CONFIG_FILE, WEIGHTS_FILE
from adapters.format.patterns import (
    LayerPattern,
    ModuleSelector,
    PatternClock,
    SavedPattern,
    SuffixPatterns,
)
from adapters.format.peft_config import LoraConfigFacts, parse_config
from adapters.format.safetensors_header import open_weights, read_header
from adapters.format.strict_json import read_json_object
from adapters.limits import Limits

__all__ = [
    "LoraConfigFacts",
    "ModuleTensor",
    "layer_of",
    "module_scalings",
    "parse_config",
    "parse_tensor_name",
    "read_config",
    "resolve_ranks_and_alphas",
    "scalings",
    "targeted_modules",
    "tensor_name",
    "unwrapped",
]

Factor = Literal["A", "B"]

_TENSOR_NAME = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<factor>[AB])(?:\.default)?\.weight"
)
_WRAPPERS = re.compile(
    r"^module\.|(?:^|(?<=\.))_(?:orig_mod|forward_module|(?:fsdp|checkpoint)_wrapped_module)\."
)
"""What data parallelism, torch.compile, Lightning, FSDP and checkpointing put around modules."""

_DEFAULT_LIMITS = Limits()
_LAYER_MODULE = re.compile(r"model\.layers\.(?P<layer>0|[1-9][0-9]{0,5})\.(?P<suffix>[a-z_.]+)")


@dataclass(frozen=True, slots=True)
class ModuleTensor:
    """Which factor of which module a tensor is.

    Attributes:
        module: its full path in the base model, such as ``model.layers.3.self_attn.q_proj``.
        factor: A or B.
        layer: the layer's number; None if the module is not part of a numbered layer.
        suffix: the path within the layer, such as ``self_attn.q_proj``; None likewise.
    """

    module: str
    factor: Factor
    layer: int | None
    suffix: str | None


def parse_tensor_name(name: str) -> ModuleTensor:
    """Read a tensor's name.

    Accepted are ``base_model.model.<module>.lora_A.weight``, the same without the prefix, and the
    same with the adapter's name ``default`` left in, as a plain ``state_dict`` has it; with or
    without the names of wrappers (:func:`unwrapped`).

    Raises:
        UnknownTensor: it is no LoRA factor of a linear layer.
    """
    match = _TENSOR_NAME.fullmatch(unwrapped(name))
    if match is None:
        raise UnknownTensor(
            f"tensor {shown(name)} is not a LoRA factor of a linear layer; expected are names like "
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
        )
    factor: Factor = "A" if match["factor"] == "A" else "B"
    found = _LAYER_MODULE.fullmatch(match["module"])
    if found is None:
        return ModuleTensor(match["module"], factor, None, None)
    return ModuleTensor(match["module"], factor, int(found["layer"]), found["suffix"])


def unwrapped(name: str) -> str:
    """A tensor's name without what training puts around modules."""
    return _WRAPPERS.sub("", name)


def layer_of(module: str) -> int | None:
    """The layer that a module's full path names; None if it is not part of one."""
    found = _LAYER_MODULE.fullmatch(module)
    return None if found is None else int(found["layer"])


def tensor_name(module: str, factor: Factor) -> str:
    """The name under which PEFT saves a factor of a module."""
    return f"base_model.model.{module}.lora_{factor}.weight"


def read_config(folder: Path, max_bytes: int = _DEFAULT_LIMITS.max_config_bytes) -> LoraConfigFacts:
    """Read ``adapter_config.json`` of a folder."""
    return parse_config(read_json_object(folder / CONFIG_FILE, max_bytes))


def resolve_ranks_and_alphas(
    config: LoraConfigFacts, modules: Iterable[str]
) -> dict[str, tuple[int, float]]:
    """Rank and lora_alpha of each module, by full path."""
    clock = PatternClock.seconds()
    rank_keys = SuffixPatterns(config.rank_pattern, clock)
    alpha_keys = SuffixPatterns(config.alpha_pattern, clock)
    resolved: dict[str, tuple[int, float]] = {}
    for module in modules:
        rank_key, alpha_key = rank_keys.first_match(module), alpha_keys.first_match(module)
        resolved[module] = (
            config.r if rank_key is None else config.rank_pattern[rank_key],
            config.lora_alpha if alpha_key is None else config.alpha_pattern[alpha_key],
        )
    return resolved


def scalings(config: LoraConfigFacts, modules: Iterable[str]) -> dict[str, float]:
    """The scaling of each module, by full path, such as ``model.layers.3.self_attn.q_proj``."""
    return {
        module: alpha / (math.sqrt(rank) if config.use_rslora else rank)
        for module, (rank, alpha) in resolve_ranks_and_alphas(config, modules).items()
    }


def module_scalings(folder: Path) -> dict[str, float]:
    """The scaling of every module that the adapter in a folder touches, by full path."""
    with open_weights(folder / WEIGHTS_FILE) as file:
        header = read_header(file, _DEFAULT_LIMITS.max_header_bytes)
    modules = dict.fromkeys(parse_tensor_name(name).module for name in header.tensors)
    return scalings(read_config(folder), modules)


def targeted_modules(config: LoraConfigFacts, tensors: Iterable[ModuleTensor]) -> frozenset[str]:
    """The modules among those given that PEFT would attach the adapter to, by full path.

    ``all-linear`` targets every linear layer but the output head. Excluded modules, and those that
    are saved whole, never count; ``layers_to_transform`` restricts targets given as suffixes, and
    only those (``check_target_module_exists`` of PEFT 0.21).
    """
    clock = PatternClock.seconds()
    targets = ModuleSelector(config.target_modules, clock)
    excluded = ModuleSelector(config.exclude_modules, clock)
    saved = [SavedPattern(module, clock) for module in config.modules_to_save]
    numbered = [LayerPattern(pattern, clock) for pattern in config.layers_pattern]

    def layer(tensor: ModuleTensor) -> int | None:
        if not numbered:
            return tensor.layer
        found = (pattern.layer_of(tensor.module) for pattern in numbered)
        return next((number for number in found if number is not None), None)

    def is_targeted(tensor: ModuleTensor) -> bool:
        if config.exclude_modules and excluded.selects(tensor.module):
            return False
        if any(pattern.covers(tensor.module) for pattern in saved):
            return False
        if config.targets_all_linear or targets.names(tensor.module):
            return True
        if not targets.selects(tensor.module):
            return False
        layers = None if targets.is_regex else config.layers_to_transform
        return layers is None or layer(tensor) in layers

    return frozenset(tensor.module for tensor in tensors if is_targeted(tensor))
