"""What contradicts itself in a recipe: refused before anything is loaded, each with its reason."""

from typing import Any

from adapters.training.errors import TrainingError
from adapters.training.job import Job
from adapters.training.methods.method import Keys, Method
from adapters.training.recipe import Recipe

PREFERENCE = "preference"
"""The task whose rows have an answer that is wanted and one that is not."""


def check(method: Method[Any], job: Job, recipe: Recipe, keys: Keys) -> None:
    """Refuse settings that contradict each other, or the method.

    Args:
        method: how is trained.
        job: on what.
        recipe: by which numbers.
        keys: what the method alone is to know.

    Raises:
        TrainingError: the first contradiction.
    """
    for wrong, reason in _of_the_run(recipe) + _of_the_loss(job, recipe):
        if wrong:
            raise TrainingError(reason)
    method.check(job, recipe, keys)


def _of_the_run(recipe: Recipe) -> list[tuple[bool, str]]:
    micro = recipe.micro_batch_size or recipe.batch_size
    return [
        (
            recipe.steps is not None and recipe.epochs is not None,
            "steps and epochs both say how long to train; leave one out",
        ),
        (
            recipe.steps is not None and recipe.warmup_steps >= recipe.steps,
            f"warmup_steps {recipe.warmup_steps} leave none of the {recipe.steps} steps",
        ),
        (
            recipe.batch_size % micro != 0,
            f"batch_size {recipe.batch_size} is no multiple of micro_batch_size {micro}",
        ),
        (
            recipe.max_prompt_tokens is not None and recipe.max_prompt_tokens >= recipe.max_tokens,
            "max_prompt_tokens must be less than max_tokens, or no answer fits",
        ),
        (
            recipe.mixed_precision == "bf16" and recipe.dtype == "bfloat16",
            "mixed_precision: bf16 keeps weights in float32; with dtype bfloat16 it has no use",
        ),
    ]


def _of_the_loss(job: Job, recipe: Recipe) -> list[tuple[bool, str]]:
    steered = recipe.loss in ("soft_sft", "dpo")
    return [
        (
            recipe.beta is not None and not steered,
            "beta belongs to the losses soft_sft and dpo, and the loss is sft",
        ),
        (
            steered and recipe.beta is None,
            f"the loss {recipe.loss} needs a beta, such as 0.05",
        ),
        (
            recipe.loss == "soft_sft" and job.start_from is not None,
            "soft_sft compares with the model without the adapter, which start_from does not "
            "begin at",
        ),
        (
            (recipe.loss == "dpo") != (job.task == PREFERENCE),
            f"the loss dpo and the task {PREFERENCE} need each other",
        ),
        (
            recipe.loss == "dpo" and recipe.reduction != "token",
            "reduction: dpo has no mean over tokens; leave it out",
        ),
        (
            recipe.packing and (recipe.loss != "sft" or recipe.reduction != "token"),
            "packing mixes examples in a row: it goes with loss sft and reduction token alone",
        ),
    ]
