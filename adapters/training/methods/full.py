"""Full fine-tuning, the baseline: every weight of the base model is trained.

    y = W x

Invariant: there is no adapter. What is made is a base model, which a server starts with and cannot
take up while it runs.
"""

from typing import Final

from transformers import PreTrainedModel, set_seed

from adapters.training.errors import TrainingError
from adapters.training.job import Job
from adapters.training.methods.method import Keys, Method
from adapters.training.methods.saving import MODEL_FILE, save_model
from adapters.training.recipe import Recipe


def prepare(base: PreTrainedModel, job: Job, recipe: Recipe, keys: Keys) -> PreTrainedModel:
    """The base model as it is, all of whose weights are trained."""
    set_seed(recipe.seed)
    return base


def check(job: Job, recipe: Recipe, keys: Keys) -> None:
    """Refuse weights that round small changes away, and losses that need an adapter.

    Raises:
        TrainingError: for one of these reasons.
    """
    if recipe.loss in ("soft_sft", "dpo"):
        raise TrainingError(
            f"the loss {recipe.loss} compares with the model without its adapter, and full "
            "fine-tuning has none"
        )
    if recipe.dtype != "float32":
        raise TrainingError(
            "dtype: full fine-tuning trains the weights themselves, whose small changes bfloat16 "
            "rounds away; use float32, with mixed_precision: bf16 for speed"
        )


METHOD: Final = Method(
    name="full",
    title="full fine-tuning",
    reference="all weights",
    keys=Keys,
    prepare=prepare,
    save=save_model,
    result=MODEL_FILE,
    product="All weights of",
    refused=dict.fromkeys(
        ("rank", "lora_alpha", "targets", "dropout", "start_from"),
        "full fine-tuning makes no adapter",
    ),
    check=check,
)
