"""The base model made trainable: with a fresh adapter, an earlier one, or all its own weights."""

from pathlib import Path
from typing import TypeAlias

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel, set_seed

from adapters.errors import AdapterError
from adapters.files import CONFIG_FILE, WEIGHTS_FILE
from adapters.format.peft_format import read_config
from adapters.limits import Limits
from adapters.training.errors import TrainingError
from adapters.training.methods.lori.frozen import freeze_a
from adapters.training.methods.lori.mask_files import read_masks
from adapters.training.methods.lori.masked import mask_b
from adapters.training.plan.recipe_file import Plan
from adapters.training.recipe import Recipe

Trainable: TypeAlias = PeftModel | PreTrainedModel


def trainable(base: PreTrainedModel, plan: Plan) -> Trainable:
    """What the plan trains; everything else of the base model is frozen.

    Raises:
        TrainingError: adapter, mask or base model do not fit each other.
    """
    if not plan.method.adapts:
        set_seed(plan.recipe.seed)
        return base
    job = plan.job
    model = (
        add_adapter(base, plan.recipe)
        if job.start_from is None
        else continue_adapter(base, Path(job.start_from), plan.recipe)
    )
    if job.reuse_a is not None:
        _take_a(model, Path(job.reuse_a))
    if plan.method.frozen_a:
        freeze_a(model)
    if plan.method.masked:
        mask_b(model, read_masks(Path(job.needed("mask"))))
    return model


def add_adapter(base: PreTrainedModel, recipe: Recipe) -> PeftModel:
    """Freeze the base model and put a fresh adapter (B = 0) on the recipe's modules.

    Raises:
        TrainingError: the base model has no such module.
    """
    set_seed(recipe.seed if recipe.a_seed is None else recipe.a_seed)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.lora_alpha,
        target_modules=list(recipe.targets),
        lora_dropout=recipe.dropout,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(base, config)
    except ValueError as error:
        raise TrainingError(f"targets: {str(error).splitlines()[0]}") from error


def continue_adapter(base: PreTrainedModel, folder: Path, recipe: Recipe) -> PeftModel:
    """Freeze the base model and put an earlier adapter on it, to be trained further.

    Raises:
        TrainingError: the folder holds no such adapter, or one of another shape than the recipe.
    """
    set_seed(recipe.seed)
    try:
        config = read_config(folder, Limits().max_config_bytes)
    except AdapterError as error:
        raise TrainingError(f"start_from: {folder}: {error}") from error
    for key, found, said in (
        ("rank", config.r, recipe.rank),
        ("lora_alpha", config.lora_alpha, recipe.lora_alpha),
    ):
        if found != said:
            raise TrainingError(f"start_from has {key} {found}, and the recipe says {said}")
    try:
        model = PeftModel.from_pretrained(base, str(folder), is_trainable=True)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(f"start_from: {folder} cannot be put on this model: {reason}") from None
    found_targets = set(model.peft_config["default"].target_modules)
    if found_targets != set(recipe.targets):
        raise TrainingError(
            f"start_from has the targets {', '.join(sorted(found_targets))}, and the recipe says "
            f"{', '.join(sorted(recipe.targets))}"
        )
    return model


def _take_a(model: nn.Module, folder: Path) -> None:
    """Replace every A by that of an earlier adapter."""
    try:
        weights = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError):
        raise TrainingError(
            f"reuse_a: {folder} holds no adapter ({CONFIG_FILE} and {WEIGHTS_FILE})"
        ) from None
    for name, parameter in model.named_parameters():
        if ".lora_A." not in name:
            continue
        found = weights.get(name.replace(".default.", "."))
        if found is None or found.shape != parameter.shape:
            raise TrainingError(f"reuse_a: the adapter in {folder} has no A like {name}")
        with torch.no_grad():
            parameter.copy_(found)
