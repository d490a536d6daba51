"""An adapter on the frozen base model: a fresh one, or an earlier one to be trained further."""

from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from transformers import PreTrainedModel, set_seed

from adapters.errors import AdapterError
from adapters.format.peft_format import read_config
from adapters.limits import Limits
from adapters.training.errors import TrainingError
from adapters.training.job import Job
from adapters.training.recipe import Recipe


def put_lora(base: PreTrainedModel, job: Job, recipe: Recipe, seed: int | None = None) -> PeftModel:
    """Freeze the base model and put a LoRA adapter on it: ``start_from``'s, or else a fresh one.

    Args:
        base: the model.
        job: may name an adapter to go on from.
        recipe: rank, scaling, dropout and modules; an earlier adapter must have the same.
        seed: of the first weights, in place of the recipe's.

    Raises:
        TrainingError: the base model has no such module, or the earlier adapter does not fit.
    """
    if job.start_from is not None:
        return continue_lora(base, Path(job.start_from), recipe)
    return put_fresh(base, lora_config(recipe), recipe.seed if seed is None else seed)


def lora_config(recipe: Recipe, **further: Any) -> LoraConfig:  # noqa: ANN401
    """PEFT's configuration of a recipe's LoRA adapter; ``further`` is what a variant adds."""
    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.lora_alpha,
        target_modules=list(recipe.targets),
        lora_dropout=recipe.dropout,
        task_type="CAUSAL_LM",
        **further,
    )


def put_fresh(base: PreTrainedModel, config: PeftConfig, seed: int) -> PeftModel:
    """Freeze the base model and put a fresh adapter on it, drawn by a seed.

    Raises:
        TrainingError: the base model has none of the modules.
    """
    set_seed(seed)
    try:
        return get_peft_model(base, config)
    except ValueError as error:
        raise TrainingError(f"targets: {str(error).splitlines()[0]}") from error


def continue_lora(base: PreTrainedModel, folder: Path, recipe: Recipe) -> PeftModel:
    """Freeze the base model and put an earlier adapter on it, to be trained further.

    Raises:
        TrainingError: the folder holds no such adapter, or one of another shape than the recipe.
    """
    set_seed(recipe.seed)
    try:
        config = read_config(folder, Limits().max_config_bytes)
    except AdapterError as error:
        raise TrainingError(f"start_from: {folder}: {error}") from error
    for key, found, wanted in (
        ("rank", config.r, recipe.rank),
        ("lora_alpha", config.lora_alpha, recipe.lora_alpha),
    ):
        if found != wanted:
            raise TrainingError(f"start_from has {key} {found}, but the recipe has {wanted}")
    try:
        model = PeftModel.from_pretrained(base, str(folder), is_trainable=True)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(f"start_from: {folder} cannot be put on this model: {reason}") from None
    found_targets = set(model.peft_config["default"].target_modules)
    if found_targets != set(recipe.targets):
        raise TrainingError(
            f"start_from has the targets {', '.join(sorted(found_targets))}, but the recipe has "
            f"{', '.join(sorted(recipe.targets))}"
        )
    return model
