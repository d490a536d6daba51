"""Masks on disk, where the authors of LoRI put theirs, and as safetensors beside it.

    ADAPTER/masks/0.9_mask.pt             over the whole model
    ADAPTER/layerwise_masks/0.9_mask.pt   the ablations: modulewise, projectionwise, layerwise, …

Each is a dictionary from a parameter's name, as PEFT has it while training, to booleans of B's
shape. Ours has the same names and ends in ``.safetensors``, which nothing has to unpickle.
"""

from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from adapters.training.errors import TrainingError
from adapters.training.methods.lori.masks import Factors, Granularity, Masks


def mask_path(adapter: Path, sparsity: float, granularity: Granularity) -> Path:
    """Where an adapter's mask lies, without its ending."""
    folder = "masks" if granularity == "model" else f"{granularity}wise_masks"
    return adapter / folder / f"{sparsity:g}_mask"


def write_masks(adapter: Path, masks: Factors, sparsity: float, granularity: Granularity) -> Path:
    """Write both files, each whole or not at all; returns the path of the safetensors."""
    path = mask_path(adapter, sparsity, granularity)
    path.parent.mkdir(exist_ok=True)
    whole = {name: mask.bool().contiguous() for name, mask in masks.items()}
    for ending, write in ((".pt", torch.save), (".safetensors", save_file)):
        target = path.with_name(path.name + ending)
        scratch = target.with_name(target.name + ".part")
        write(whole, scratch)
        scratch.replace(target)
    return path.with_name(path.name + ".safetensors")


def read_masks(path: Path) -> Masks:
    """The masks of a file of either kind.

    Raises:
        TrainingError: it is not there, or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainingError(f"there is no mask {path}") from None
    except (OSError, SafetensorError, UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read as a mask") from error
    if not isinstance(found, dict) or not all(_is_mask(*item) for item in found.items()):
        raise TrainingError(f"{path} holds something other than names with boolean tensors")
    return found


def _is_mask(name: object, mask: object) -> bool:
    return isinstance(name, str) and isinstance(mask, torch.Tensor) and mask.dtype == torch.bool
