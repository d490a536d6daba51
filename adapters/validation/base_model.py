"""The shapes of the served base model's linear layers, read from its ``config.json``.

Adapters are checked against these shapes before the engine ever sees them, since the engine itself
would zero-pad what is too narrow and ignore layers that do not exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from adapters.errors import InvalidAdapter, UnsupportedBaseModel, shown
from adapters.format.strict_json import read_json_object

_MAX_CONFIG_BYTES = 2**20

_HEAD_DIM_DEFAULT: Mapping[str, int | None] = MappingProxyType(
    {
        "LlamaForCausalLM": None,
        "MistralForCausalLM": None,
        "Qwen2ForCausalLM": None,
        "Qwen3ForCausalLM": 128,
        "GemmaForCausalLM": 256,
        "Gemma2ForCausalLM": 256,
        "Gemma3ForCausalLM": 256,
        "GraniteForCausalLM": None,
    }
)
"""Architecture → head size where the config gives none; None means hidden size / heads."""

KNOWN_ARCHITECTURES: tuple[str, ...] = tuple(sorted(_HEAD_DIM_DEFAULT))


@dataclass(frozen=True, slots=True)
class BaseModelShapes:
    """The linear layers of a decoder whose layers are all alike.

    Attributes:
        name: the name it is served under.
        architecture: class name, such as ``LlamaForCausalLM``.
        num_layers: layers are numbered from 0 to ``num_layers - 1``.
        linears: module suffix, such as ``self_attn.q_proj`` → (out_features, in_features).
        aliases: other names it goes by, such as its folder's.
        folder: where its checkpoint lies; None if only its shapes are known.
    """

    name: str
    architecture: str
    num_layers: int
    linears: Mapping[str, tuple[int, int]]
    aliases: tuple[str, ...] = ()
    folder: Path | None = None


def read_base_model(folder: Path, name: str) -> BaseModelShapes:
    """Read the shapes of the model in a folder.

    Args:
        folder: A checkpoint in Hugging Face's layout.
        name: the name it is served under.

    Raises:
        UnsupportedBaseModel: there is no usable config.json, or the family is not known.
    """
    try:
        config = read_json_object(folder / "config.json", _MAX_CONFIG_BYTES)
    except InvalidAdapter as error:
        raise UnsupportedBaseModel(f"base model {name!r}: {error}") from error
    architectures = config.get("architectures")
    architecture = architectures[0] if isinstance(architectures, list) and architectures else None
    if not isinstance(architecture, str) or architecture not in _HEAD_DIM_DEFAULT:
        raise UnsupportedBaseModel(
            f"base model {name!r} has the architecture {shown(architecture)}, whose linear layers "
            f"are not known here; known are {', '.join(KNOWN_ARCHITECTURES)}"
        )
    declared = config.get("_name_or_path") or config.get("_model_name_or_path")
    aliases = [folder.resolve().name, *([declared] if isinstance(declared, str) else [])]
    return BaseModelShapes(
        name=name,
        architecture=architecture,
        num_layers=_positive(config, "num_hidden_layers"),
        linears=_linears(config, _HEAD_DIM_DEFAULT[architecture]),
        aliases=tuple(aliases),
        folder=folder,
    )


def _linears(
    config: Mapping[str, object], head_dim_default: int | None
) -> Mapping[str, tuple[int, int]]:
    """Shapes of grouped-query attention and a gated MLP, as (out_features, in_features)."""
    hidden = _positive(config, "hidden_size")
    inner = _positive(config, "intermediate_size")
    heads = _positive(config, "num_attention_heads")
    kv_heads = _positive(config, "num_key_value_heads", heads)
    head_dim = _positive(config, "head_dim", head_dim_default or hidden // heads)
    return MappingProxyType(
        {
            "self_attn.q_proj": (heads * head_dim, hidden),
            "self_attn.k_proj": (kv_heads * head_dim, hidden),
            "self_attn.v_proj": (kv_heads * head_dim, hidden),
            "self_attn.o_proj": (hidden, heads * head_dim),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }
    )


def _positive(config: Mapping[str, object], key: str, default: int | None = None) -> int:
    value = config.get(key)
    if value is None:
        value = default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UnsupportedBaseModel(
            f"config.json of the base model gives {key} = {shown(value)}; a whole number ≥ 1 is "
            "needed to know the shapes of its layers"
        )
    return value
