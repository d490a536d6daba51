"""What an upload holds beside its LoRA factors: dropped where it changes nothing, else refused.

Training frameworks save whole modules beside the factors: the embedding and the output head when
tokens were added or ``modules_to_save`` names them, biases when ``bias`` is on. Often nobody has
trained them. So each is held to the base model's own: what is equal is left out with a warning.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from adapters.errors import UnknownTensor, UnsupportedAdapter, shown
from adapters.format.peft_format import unwrapped
from adapters.format.safetensors_header import TensorSpec
from adapters.validation.base_model import BaseModelShapes
from adapters.validation.base_weights import BaseTensor, find_base_tensor, is_equal
from adapters.validation.finite import max_magnitude

_PREFIX = r"(?:base_model\.model\.)?"
_WHOLE = re.compile(
    _PREFIX + r"(?P<module>(?:(?!lora_).)+?)"
    r"(?:\.(?:modules_to_save(?:\.default)?|base_layer|original_module))?\.(?P<kind>weight|bias)"
)
_LORA_BIAS = re.compile(_PREFIX + r"(?P<module>.+)\.lora_B(?:\.default)?\.bias")
_CURE = (
    "; whole modules cannot be swapped per request. If it was not trained, save the adapter "
    "without it (PEFT: no modules_to_save, save_embedding_layers=False); if it was, train without "
    "it"
)
_SHOWN_TENSORS = 3


def is_extra(name: str) -> bool:
    """Whether a tensor is a whole weight or bias, not a factor or a part of another method."""
    plain = unwrapped(name)
    return bool(_LORA_BIAS.fullmatch(plain) or _WHOLE.fullmatch(plain))


def judge_extras(
    file: BinaryIO, data_start: int, extras: Mapping[str, TensorSpec], base: BaseModelShapes
) -> Iterator[str]:
    """Warnings for tensors that are left out, since they change nothing.

    Args:
        file: the upload's weights.
        data_start: byte at which its data begin.
        extras: name → tensor, each one that :func:`is_extra` knows.
        base: the served model.

    Raises:
        UnknownTensor: one of them is not what the base model has.
        UnsupportedAdapter: a bias of lora_B is not zero.
    """
    equal: list[str] = []
    zero: list[str] = []
    for name, spec in extras.items():
        if _LORA_BIAS.fullmatch(unwrapped(name)):
            if max_magnitude(file, data_start, spec) != 0:
                raise UnsupportedAdapter(
                    f"{shown(name)} is not zero: a bias on lora_B is not part of the update that "
                    "the engine applies; train without lora_bias"
                )
            zero.append(name)
        else:
            _check_equal(file, data_start, (name, spec), base)
            equal.append(name)
    if equal:
        yield f"{_listed(equal)}: equal to the base model's, and left out"
    if zero:
        yield f"{_listed(zero)}: all zeros, and left out"


def _check_equal(
    file: BinaryIO, data_start: int, named: tuple[str, TensorSpec], base: BaseModelShapes
) -> None:
    name, spec = named
    found = _WHOLE.fullmatch(unwrapped(name))
    own = f"{found['module']}.{found['kind']}" if found is not None else name
    theirs = _base_tensor(base, own)
    if theirs is None:
        raise UnknownTensor(
            f"the weights hold {shown(own)}, and the base model {base.name!r} has no such tensor "
            f"to compare it with{_CURE}"
        )
    if theirs.shape != spec.shape:
        raise UnknownTensor(
            f"the weights hold {shown(own)} of shape {list(spec.shape)}, where the base model "
            f"{base.name!r} has {list(theirs.shape)}: were tokens added?{_CURE}"
        )
    if not is_equal(file, data_start, spec, theirs):
        raise UnknownTensor(
            f"the weights hold {shown(own)}, which is not the base model's: it was trained, or "
            f"comes from another copy of {base.name!r}{_CURE}"
        )


def _base_tensor(base: BaseModelShapes, name: str) -> BaseTensor | None:
    """The base model's tensor of that name; None if there is none that can be read."""
    if base.folder is None:
        return None
    try:
        return find_base_tensor(base.folder, name)
    except (OSError, json.JSONDecodeError, KeyError, TypeError):
        return None


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN_TENSORS
    first = ", ".join(shown(name) for name in names[:_SHOWN_TENSORS])
    return first + (f" and {more} more tensors" if more > 0 else "")
