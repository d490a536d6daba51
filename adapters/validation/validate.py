"""Everything that must hold before an adapter may come near the engine.

The engine checks little: it zero-pads narrow tensors, ignores layers that do not exist, accepts
NaN, and evicts a good adapter before it fails on a bad one. So an adapter is judged whole, here,
from its files alone: config, tensor names, shapes, ranks, numbers, base model.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from adapters.errors import (
    EmptyAdapter,
    ExtremeWeights,
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
    shown,
)
from adapters.files import WEIGHTS_FILE
from adapters.format.peft_config import LoraConfigFacts
from adapters.format.peft_format import (
    Factor,
    ModuleTensor,
    parse_tensor_name,
    read_config,
    resolve_ranks_and_alphas,
    scalings,
    targeted_modules,
    tensor_name,
)
from adapters.format.safetensors_header import (
    SafetensorsHeader,
    TensorSpec,
    open_weights,
    read_header,
)
from adapters.limits import Limits
from adapters.validation.base_identity import check_base_model
from adapters.validation.base_model import BaseModelShapes
from adapters.validation.extra_tensors import is_extra, judge_extras
from adapters.validation.finite import max_magnitude

_PICKLED_WEIGHTS = ("adapter_model.bin", "adapter_model.pt")


@dataclass(frozen=True, slots=True)
class LoraPair:
    """Both factors of one module, with the rank and lora_alpha that apply to it.

    Attributes:
        suffix: of the module's path, such as ``self_attn.q_proj``.
        rank: r.
        alpha: lora_alpha.
        scaling: s in s·B·A, from both.
        a: A [r, in].
        b: B [out, r].
    """

    suffix: str
    rank: int
    alpha: float
    scaling: float
    a: TensorSpec
    b: TensorSpec


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """What validation found out about an adapter.

    Attributes:
        config: its adapter_config.json.
        pairs: full module path → its factors.
        data_start: byte of the weights file at which their data begin.
        extras: tensors beside the factors, which are not served.
        warnings: what whoever uploads it should know although it can be served.
    """

    config: LoraConfigFacts
    pairs: Mapping[str, LoraPair]
    data_start: int
    extras: Mapping[str, TensorSpec] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def ranks(self) -> tuple[int, ...]:
        """The distinct ranks, ascending."""
        return tuple(sorted({pair.rank for pair in self.pairs.values()}))

    @property
    def rank(self) -> int:
        """The largest rank."""
        return self.ranks[-1]

    @property
    def target_modules(self) -> tuple[str, ...]:
        """The module suffixes that are touched, sorted."""
        return tuple(sorted({pair.suffix for pair in self.pairs.values()}))

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(
            spec.shape[0] * spec.shape[1]
            for pair in self.pairs.values()
            for spec in (pair.a, pair.b)
        )


def validate(folder: Path, base: BaseModelShapes, limits: Limits) -> AdapterFacts:
    """Judge the adapter in a folder, weights included.

    Raises:
        InvalidAdapter: the subclass says what is wrong.
    """
    config = read_config(folder, limits.max_config_bytes)
    with _open_checked(folder, limits) as file:
        header = read_header(file, limits.max_header_bytes)
        facts = check_structure(config, header, base, limits)
        unmoved = _check_numbers(file, facts, limits)
        left_out = judge_extras(file, facts.data_start, facts.extras, base)
        return replace(
            facts, warnings=(*facts.warnings, *left_out, *_without_effect(facts, unmoved))
        )


def inspect(folder: Path, base: BaseModelShapes, limits: Limits) -> AdapterFacts:
    """Judge everything but the numbers themselves; quick, for adapters validated before."""
    config = read_config(folder, limits.max_config_bytes)
    with _open_checked(folder, limits) as file:
        header = read_header(file, limits.max_header_bytes)
    return check_structure(config, header, base, limits)


def check_structure(
    config: LoraConfigFacts, header: SafetensorsHeader, base: BaseModelShapes, limits: Limits
) -> AdapterFacts:
    """Check config and tensor names, shapes and ranks against the base model."""
    warning = check_base_model(config.base_model, base, limits)
    if config.max_rank > limits.max_lora_rank:
        raise RankTooLarge(
            f"the adapter has rank {config.max_rank}; this server takes ranks up to "
            f"{limits.max_lora_rank}"
        )
    extras = {name: spec for name, spec in header.tensors.items() if is_extra(name)}
    tensors = [
        (parse_tensor_name(name), spec)
        for name, spec in header.tensors.items()
        if name not in extras
    ]
    if not tensors:
        raise EmptyAdapter("adapter_model.safetensors holds no LoRA factors at all")
    for tensor, _ in tensors:
        _check_module(tensor, base)
    targeted = targeted_modules(config, (tensor for tensor, _ in tensors))
    for tensor, _ in tensors:
        if tensor.module not in targeted:
            raise TargetMismatch(
                f"the weights hold {shown(tensor.module)}, which target_modules of "
                "adapter_config.json does not select; PEFT would ignore it"
            )
    return AdapterFacts(
        config,
        _pairs(config, tensors, base),
        header.data_start,
        extras,
        () if warning is None else (warning,),
    )


def _open_checked(folder: Path, limits: Limits) -> BinaryIO:
    path = folder / WEIGHTS_FILE
    if not path.exists() and any((folder / name).exists() for name in _PICKLED_WEIGHTS):
        raise UnsafeFile(
            "the weights are a pickled PyTorch file, which can run code when loaded; save the "
            "adapter as adapter_model.safetensors"
        )
    file = open_weights(path)
    size = file.seek(0, 2)
    if size > limits.max_weights_bytes:
        file.close()
        raise TooLarge(f"{WEIGHTS_FILE} has {size} bytes; {limits.max_weights_bytes} are allowed")
    return file


def _check_module(tensor: ModuleTensor, base: BaseModelShapes) -> None:
    served = ", ".join(base.linears)
    if tensor.layer is None or tensor.suffix is None:
        reason = "the embedding and the output head are shared by all requests"
        raise UnsupportedModule(
            f"the adapter touches {shown(tensor.module)}; served are {served} of "
            f"model.layers.0 … {base.num_layers - 1}"
            + (f" ({reason})" if tensor.module.endswith(("embed_tokens", "lm_head")) else "")
        )
    if tensor.suffix not in base.linears:
        raise UnsupportedModule(
            f"the adapter touches {shown(tensor.module)}; served modules are {served}"
        )
    if tensor.layer >= base.num_layers:
        raise LayerOutOfRange(
            f"the adapter touches layer {tensor.layer}; the base model {base.name!r} has "
            f"{base.num_layers} layers, numbered from 0"
        )


def _pairs(
    config: LoraConfigFacts,
    tensors: list[tuple[ModuleTensor, TensorSpec]],
    base: BaseModelShapes,
) -> dict[str, LoraPair]:
    """Bring the factors together, in the order of module names, and check their shapes."""
    factors: dict[str, dict[Factor, TensorSpec]] = {}
    suffixes: dict[str, str] = {}
    for tensor, spec in tensors:
        if tensor.factor in factors.setdefault(tensor.module, {}):
            raise MalformedFile(f"lora_{tensor.factor} of {tensor.module} is given twice")
        factors[tensor.module][tensor.factor] = spec
        suffixes[tensor.module] = tensor.suffix or ""
    resolved = resolve_ranks_and_alphas(config, factors)
    strengths = scalings(config, factors)
    pairs: dict[str, LoraPair] = {}
    for module in sorted(factors):
        a, b = factors[module].get("A"), factors[module].get("B")
        if a is None or b is None:
            lacking = "lora_A" if a is None else "lora_B"
            raise MissingPair(f"{module} has no {lacking}: both factors are needed")
        rank, alpha = resolved[module]
        _check_shapes(module, (a, b), rank, base.linears[suffixes[module]])
        pairs[module] = LoraPair(suffixes[module], rank, alpha, strengths[module], a, b)
    return pairs


def _check_shapes(
    module: str, factors: tuple[TensorSpec, TensorSpec], rank: int, linear: tuple[int, int]
) -> None:
    """A must be ``[rank, in]`` and B ``[out, rank]``."""
    a, b = factors
    out_features, in_features = linear
    if len(a.shape) != 2 or a.shape[1] != in_features:
        raise ShapeMismatch(
            f"{tensor_name(module, 'A')} has shape {list(a.shape)}; the base model needs "
            f"[{rank}, {in_features}]{_partitioned(a)}"
        )
    if len(b.shape) != 2 or b.shape[0] != out_features:
        raise ShapeMismatch(
            f"{tensor_name(module, 'B')} has shape {list(b.shape)}; the base model needs "
            f"[{out_features}, {rank}]{_partitioned(b)}"
        )
    if (a.shape[0], b.shape[1]) != (rank, rank):
        raise RankMismatch(
            f"the factors of {module} have ranks {a.shape[0]} (A) and {b.shape[1]} (B); "
            f"adapter_config.json gives the module rank {rank}"
        )


def _partitioned(tensor: TensorSpec) -> str:
    """A hint at what leaves empty tensors."""
    if 0 not in tensor.shape:
        return ""
    return " (DeepSpeed's ZeRO-3 leaves partitioned weights empty: gather them before saving)"


def _check_numbers(file: BinaryIO, facts: AdapterFacts, limits: Limits) -> list[str]:
    """A and B times the scaling are what the engine keeps; neither may be absurd.

    Returns:
        The factors that hold nothing but zeros.
    """
    zeros: list[str] = []
    for module, pair in facts.pairs.items():
        tensors: tuple[tuple[Factor, TensorSpec, float], ...] = (
            ("A", pair.a, 1.0),
            ("B", pair.b, pair.scaling),
        )
        for factor, spec, strength in tensors:
            largest = max_magnitude(file, facts.data_start, spec)
            if largest is None:
                raise NonFiniteWeights(f"{tensor_name(module, factor)} holds NaN or infinity")
            if largest * strength > limits.max_abs_weight:
                raise ExtremeWeights(
                    f"{tensor_name(module, factor)} reaches {largest:g} with scaling {strength:g}; "
                    f"at most {limits.max_abs_weight:g} is served"
                )
            if not largest:
                zeros.append(f"lora_{factor} of {module}")
    return zeros


def _without_effect(facts: AdapterFacts, zeros: list[str]) -> Iterator[str]:
    """Warnings for what an adapter has and does not change anything by."""
    if facts.config.by_effect:
        fields = ", ".join(facts.config.by_effect)
        yield f"switched on in adapter_config.json, without effect here: {fields}"
    idle = {zero.rpartition(" ")[2] for zero in zeros}
    if len(idle) == len(facts.pairs):
        yield f"the adapter changes nothing: {zeros[0]} and its like are all zeros; was it trained?"
    elif idle:
        yield (
            f"the adapter leaves {len(idle)} of its {len(facts.pairs)} modules as they are: "
            f"{zeros[0]} is all zeros"
        )
