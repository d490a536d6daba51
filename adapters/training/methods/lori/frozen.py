"""A of LoRI: drawn once, as PEFT draws it, or taken from an earlier adapter; never trained.

See arXiv 2504.07448, §3.1. A merge adds little noise because the A of its adapters are independent.
One default seed would make all of them equal, so that of A depends on method and data as well.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from peft import PeftModel
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel

from adapters.files import CONFIG_FILE, WEIGHTS_FILE
from adapters.training.errors import TrainingError
from adapters.training.job import Job
from adapters.training.methods.adapter import put_lora
from adapters.training.methods.method import Keys
from adapters.training.recipe import SEEDS, Recipe

_A = ".lora_A."


class AKeys(Keys):
    """Where A is from; with neither, it is drawn by seed, method and data."""

    a_seed: int | None = Field(
        None,
        ge=0,
        lt=SEEDS,
        description="of LoRI's A; else another one for each seed, method and data",
    )
    reuse_a: str | None = Field(None, description="adapter whose A is taken, B being 0")

    def inputs(self) -> dict[str, Path]:
        """The adapter whose A is taken."""
        return {} if self.reuse_a is None else {"reuse_a": Path(self.reuse_a) / WEIGHTS_FILE}


AKeysT = TypeVar("AKeysT", bound=AKeys)


def put_frozen_a(base: PreTrainedModel, job: Job, recipe: Recipe, keys: AKeys) -> PeftModel:
    """The base model, frozen, with an adapter whose B is to be trained and whose A is not.

    Raises:
        TrainingError: an adapter that the recipe names, and the base model, do not fit each other.
    """
    model = put_lora(base, job, recipe, keys.a_seed)
    if keys.reuse_a is not None:
        _take_a(model, Path(keys.reuse_a))
    freeze_a(model)
    return model


def freeze_a(model: nn.Module) -> None:
    """Train no A of any adapter."""
    for name, parameter in model.named_parameters():
        if _A in name:
            parameter.requires_grad_(False)


def check_a(job: Job, recipe: Recipe, keys: AKeys) -> None:
    """Refuse two ways to come by A.

    Raises:
        TrainingError: there are two.
    """
    if keys.reuse_a is not None and job.start_from is not None:
        raise TrainingError(
            "reuse_a begins with B = 0 and start_from with a trained B; leave one out"
        )
    if keys.a_seed is not None and not (keys.reuse_a is None and job.start_from is None):
        raise TrainingError(
            "a_seed draws an A, and reuse_a and start_from bring one; leave one out"
        )


def settled_a(
    method: str, keys: AKeysT, job: Job, recipe: Recipe, data: Mapping[str, str]
) -> AKeysT:
    """The keys with the seed of A, where a fresh A is drawn by none that somebody chose.

    Args:
        method: the method's name.
        keys: as the recipe has them.
        job: may name an adapter that brings its A.
        recipe: whose seed counts.
        data: SHA-256 of each file or dataset by its name.
    """
    if not (keys.a_seed is None and keys.reuse_a is None and job.start_from is None):
        return keys
    text = json.dumps([recipe.seed, method, sorted(data.values())])
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])  # NumPy's bound: 32 bits
    return keys.model_copy(update={"a_seed": seed})


def _take_a(model: nn.Module, folder: Path) -> None:
    """Replace every A by that of an earlier adapter."""
    try:
        weights = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError):
        raise TrainingError(
            f"reuse_a: {folder} holds no adapter ({CONFIG_FILE} and {WEIGHTS_FILE})"
        ) from None
    for name, parameter in model.named_parameters():
        if _A not in name:
            continue
        found = weights.get(name.replace(".default.", "."))
        if found is None or found.shape != parameter.shape:
            raise TrainingError(f"reuse_a: the adapter in {folder} has no A like {name}")
        with torch.no_grad():
            parameter.copy_(found)
