r"""LoRA: a low-rank update beside each frozen weight (Hu et al., arXiv 2106.09685).

    y = W x + (α / r) B A x        A [r, in] random, B [out, r] = 0 at the start

A and B are trained.

Invariant: W never changes, and the model before the first step is the base model.
"""

from typing import Final

from peft import PeftModel
from transformers import PreTrainedModel

from adapters.training.job import Job
from adapters.training.methods.adapter import put_lora
from adapters.training.methods.method import Keys, Method
from adapters.training.methods.saving import save_adapter
from adapters.training.recipe import Recipe


def prepare(base: PreTrainedModel, job: Job, recipe: Recipe, keys: Keys) -> PeftModel:
    """The base model, frozen, with A and B to be trained."""
    return put_lora(base, job, recipe)


METHOD: Final = Method(
    name="lora",
    title="LoRA",
    reference="arXiv 2106.09685",
    keys=Keys,
    prepare=prepare,
    save=save_adapter,
    refused={
        "a_seed": "A is trained as well, and drawn by seed",
        "reuse_a": "A is trained as well; start_from goes on with a whole adapter",
    },
)
