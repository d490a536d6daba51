"""``adapter_config.json`` of PEFT, read strictly.

Only a plain LoRA is taken: an update ``s·B·A`` added to linear layers. A field that would make PEFT
do more than that is refused by name; so is a field that is not known here and is switched on, since
it may be next year's variant. Fields that only matter while training are ignored.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import cast

from adapters.errors import InvalidConfig, UnsupportedAdapter, shown
from adapters.printable import hidden_character

TargetModules = str | tuple[str, ...]

_MAX_LIST = 20_000
_MAX_RANK = 2**16
_MAX_PATTERNS = 5_000
_MAX_NAME = 1_000

_UNSUPPORTED: Mapping[str, str] = MappingProxyType(
    {
        "use_dora": "DoRA rescales the base weights, which a low-rank update cannot express",
        "alora_invocation_tokens": "Activated LoRA works on part of a prompt only",
        "layer_replication": "it changes the base model's layers",
        "use_qalora": "QALoRA pools the inputs of its layers",
        "target_parameters": "LoRA on bare parameters (mixture-of-experts) is not served",
        "use_bdlora": "block-diagonal LoRA is not served",
        "monteclora_config": "Monte Carlo LoRA is not served",
        "arrow_config": "Arrow routing inside an adapter is not served",
        "kasa_config": "KaSA changes the base weights",
        "auto_map": "custom code is never loaded",
    }
)
"""Fields that must be off, and why."""

_BY_EFFECT = frozenset(
    {
        "bias",
        "fan_in_fan_out",
        "lora_bias",
        "megatron_config",
        "modules_to_save",
        "trainable_token_indices",
        "velora_config",
    }
)
"""Fields that may be on. What they make PEFT save is looked at, tensor by tensor; where there is
nothing of it, PEFT itself goes on with the base model's. ``fan_in_fan_out`` and ``megatron_config``
are for layers that no served model has, and PEFT then turns them off; ``velora_config`` changes the
backward pass alone."""

_IGNORED = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "corda_config",
        "ensure_weight_tying",
        "eva_config",
        "inference_mode",
        "loftq_config",
        "lora_dropout",
        "lora_ga_config",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "task_type",
    }
)
"""Fields that matter only while training, or only to fields that are refused."""

_READ = frozenset(
    {
        "alpha_pattern",
        "exclude_modules",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "peft_type",
        "r",
        "rank_pattern",
        "target_modules",
        "use_rslora",
    }
)

_PLAIN_INITS = frozenset({"gaussian", "eva", "orthogonal", "mica", "lora_ga"})
"""Initialisations after which the saved factors are an ordinary update of the unchanged base."""


@dataclass(frozen=True, slots=True)
class LoraConfigFacts:
    """What a plain LoRA's config says, in types.

    Patterns keep the config's order, which decides between several that fit.
    """

    r: int
    lora_alpha: float
    target_modules: TargetModules
    base_model: str | None = None
    use_rslora: bool = False
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    exclude_modules: TargetModules = ()
    layers_to_transform: frozenset[int] | None = None
    layers_pattern: tuple[str, ...] = ()
    modules_to_save: tuple[str, ...] = ()
    by_effect: tuple[str, ...] = ()
    """Fields that are on, and do nothing unless the weights hold something of theirs."""

    @property
    def targets_all_linear(self) -> bool:
        """Whether the config uses PEFT's shorthand for every linear layer but the head."""
        return isinstance(self.target_modules, str) and self.target_modules.lower() == "all-linear"

    @property
    def max_rank(self) -> int:
        """The largest rank that the config gives any module."""
        return max([self.r, *self.rank_pattern.values()])


def parse_config(config: Mapping[str, object]) -> LoraConfigFacts:
    """Turn a parsed ``adapter_config.json`` into facts.

    Raises:
        UnsupportedAdapter: it describes more than a plain LoRA.
        InvalidConfig: a field has no sensible value.
    """
    _refuse_unsupported(config)
    base_model = config.get("base_model_name_or_path")
    if isinstance(base_model, str) and len(base_model) > _MAX_NAME:
        raise InvalidConfig(f"base_model_name_or_path has more than {_MAX_NAME} characters")
    if isinstance(base_model, str) and (hidden := hidden_character(base_model)) is not None:
        raise InvalidConfig(
            f"base_model_name_or_path holds the character {hidden}, which cannot be seen"
        )
    return LoraConfigFacts(
        r=_rank("r", config.get("r", 8)),
        lora_alpha=_alpha("lora_alpha", config.get("lora_alpha", 8)),
        target_modules=_targets(config),
        base_model=base_model if isinstance(base_model, str) and base_model else None,
        use_rslora=_flag(config, "use_rslora"),
        rank_pattern=MappingProxyType(
            {key: _rank(f"rank_pattern[{key}]", v) for key, v in _pattern(config, "rank_pattern")}
        ),
        alpha_pattern=MappingProxyType(
            {
                key: _alpha(f"alpha_pattern[{key}]", v)
                for key, v in _pattern(config, "alpha_pattern")
            }
        ),
        exclude_modules=_names(config, "exclude_modules") or (),
        layers_to_transform=_layers(config),
        layers_pattern=_listed(config, "layers_pattern"),
        modules_to_save=_listed(config, "modules_to_save"),
        by_effect=tuple(sorted(key for key in _BY_EFFECT if _is_on(config.get(key)))),
    )


def _refuse_unsupported(config: Mapping[str, object]) -> None:
    peft_type = config.get("peft_type")
    if not isinstance(peft_type, str) or peft_type.upper() != "LORA":
        raise UnsupportedAdapter(f"peft_type is {shown(peft_type)}; only LORA adapters are served")
    if _is_on(config.get("bias")) and config["bias"] not in ("all", "lora_only"):
        raise UnsupportedAdapter(f'bias is {shown(config["bias"])}; "none" is what is served')
    init = config.get("init_lora_weights")
    if isinstance(init, str) and init.lower() not in _PLAIN_INITS:
        raise UnsupportedAdapter(
            f"init_lora_weights is {shown(init)}, which changes the base model's weights; convert "
            "the adapter with PEFT's path_initial_model_for_weight_conversion"
        )
    for key, value in config.items():
        if key in _UNSUPPORTED and _is_on(value):
            raise UnsupportedAdapter(f"{key} is set: {_UNSUPPORTED[key]}")
        if key not in _UNSUPPORTED and key not in _IGNORED | _READ | _BY_EFFECT and _is_on(value):
            raise UnsupportedAdapter(
                f"the field {shown(key)} of adapter_config.json is not known and may change what "
                "the adapter does; remove it if it does not"
            )


def _is_on(value: object) -> bool:
    return value not in (None, False, 0, "", "none", [], {})


def _rank(label: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidConfig(f"{shown(label)} is {shown(value)}; a rank is a whole number ≥ 1")
    return min(value, _MAX_RANK)


def _alpha(label: str, value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < cast("float", value) < math.inf or cast("float", value) > 2**53:
        raise InvalidConfig(f"{shown(label)} is {shown(value)}; it must be a number above 0")
    return float(cast("float", value))


def _flag(config: Mapping[str, object], key: str) -> bool:
    value = config.get(key)
    if value is not None and not isinstance(value, bool):
        raise InvalidConfig(f"{key} is {shown(value)}; it must be true or false")
    return bool(value)


def _pattern(config: Mapping[str, object], key: str) -> list[tuple[str, object]]:
    value = config.get(key)
    if value is None:
        return []
    if not isinstance(value, dict) or len(value) > _MAX_PATTERNS:
        raise InvalidConfig(
            f"{key} must be an object of at most {_MAX_PATTERNS} module patterns with their values"
        )
    return list(value.items())


def _targets(config: Mapping[str, object]) -> TargetModules:
    targets = _names(config, "target_modules")
    if not targets:
        raise InvalidConfig(
            "target_modules is missing or empty; list the modules that the adapter is for, such as "
            '["q_proj", "v_proj"]'
        )
    return targets


def _names(config: Mapping[str, object], key: str) -> TargetModules | None:
    value = config.get(key)
    if value is None or isinstance(value, str):
        return value
    if (
        not isinstance(value, list)
        or len(value) > _MAX_LIST
        or not all(isinstance(item, str) for item in value)
    ):
        raise InvalidConfig(f"{key} must be a list of module names or one pattern")
    return tuple(value)


def _listed(config: Mapping[str, object], key: str) -> tuple[str, ...]:
    """Names, of which a single one may stand by itself."""
    names = _names(config, key) or ()
    return (names,) if isinstance(names, str) else names


def _layers(config: Mapping[str, object]) -> frozenset[int] | None:
    value = config.get("layers_to_transform")
    if value is None or value == []:
        return None
    layers = value if isinstance(value, list) else [value]
    if len(layers) > _MAX_LIST or not all(type(item) is int and item >= 0 for item in layers):
        raise InvalidConfig("layers_to_transform must be layer numbers ≥ 0")
    return frozenset(layers)
