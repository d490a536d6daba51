"""The factors of an adapter on disk, by module: what merging and measuring work on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from adapters.errors import MissingFile, MissingPair
from adapters.files import WEIGHTS_FILE
from adapters.format.peft_format import parse_tensor_name, read_config, scalings
from adapters.format.safetensors_header import open_weights, read_header
from adapters.limits import Limits


@dataclass(frozen=True, slots=True)
class Factors:
    """An adapter's update of one module, s·B·A: A [r, in] and B [out, r] in fp32."""

    a: torch.Tensor
    b: torch.Tensor
    scaling: float


def read_factors(folder: Path, limits: Limits | None = None) -> Mapping[str, Factors]:
    """Module's full path → its factors, in order of the paths.

    Raises:
        AdapterError: the folder holds no plain LoRA adapter.
    """
    bounds = limits or Limits()
    config = read_config(folder, bounds.max_config_bytes)
    with open_weights(folder / WEIGHTS_FILE) as file:
        read_header(file, bounds.max_header_bytes)
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise MissingFile(f"{WEIGHTS_FILE} cannot be read") from error
    sides: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        parsed = parse_tensor_name(name)
        sides.setdefault(parsed.module, {})[parsed.factor] = tensor.float()
    scaling = scalings(config, sides)
    for module, pair in sides.items():
        if len(pair) < len("AB"):
            raise MissingPair(f"{module} has lora_{''.join(pair)} alone")
    return {
        module: Factors(sides[module]["A"], sides[module]["B"], scaling[module])
        for module in sorted(sides)
    }
