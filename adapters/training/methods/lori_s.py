r"""LoRI-S: LoRI-D whose B is trained for a few entries alone (arXiv 2504.07448, §3.2).

    y = W x + (α / r) (M ⊙ B) A x        A [r, in] random, B [out, r] = 0 at the start

M [out, r] is a mask, made from a LoRI-D adapter of the same task (``lori/masks.py``).

Invariant: neither W nor A ever changes; outside the mask B is zero, or what ``start_from`` has.
"""

from functools import partial
from pathlib import Path
from typing import Final

from peft import PeftModel
from pydantic import Field
from transformers import PreTrainedModel

from adapters.training.errors import TrainingError
from adapters.training.job import Job
from adapters.training.methods.lori.frozen import AKeys, check_a, put_frozen_a, settled_a
from adapters.training.methods.lori.mask_files import read_masks
from adapters.training.methods.lori.masked_linear import mask_b
from adapters.training.methods.method import Method
from adapters.training.methods.saving import save_adapter
from adapters.training.recipe import Recipe


class MaskKeys(AKeys):
    """The keys of LoRI-S: those of its A, and the mask."""

    mask: str = Field(description="file that says which entries of B are trained")

    def inputs(self) -> dict[str, Path]:
        """The mask, and the adapter whose A is taken."""
        return {"mask": Path(self.mask), **super().inputs()}


def prepare(base: PreTrainedModel, job: Job, recipe: Recipe, keys: MaskKeys) -> PeftModel:
    """The base model, frozen, with the masked entries of B to be trained."""
    model = put_frozen_a(base, job, recipe, keys)
    mask_b(model, read_masks(Path(keys.mask)))
    return model


def check(job: Job, recipe: Recipe, keys: MaskKeys) -> None:
    """Refuse what would change B outside the mask, and two ways to come by A.

    Raises:
        TrainingError: for one of these reasons.
    """
    check_a(job, recipe, keys)
    if recipe.weight_decay:
        raise TrainingError(
            "weight_decay would change the entries of B that the mask leaves out; set it to 0"
        )


METHOD: Final = Method(
    name="lori_s",
    title="LoRI-S",
    reference="arXiv 2504.07448",
    keys=MaskKeys,
    prepare=prepare,
    save=save_adapter,
    check=check,
    settle=partial(settled_a, "lori_s"),
)
