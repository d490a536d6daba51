"""The methods that there are: what each trains, and which keys of a recipe it has no use for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from adapters.training.errors import TrainingError
from adapters.training.job import Job
from adapters.training.recipe import Recipe

ADAPTER_KEYS = ("rank", "lora_alpha", "targets", "dropout", "a_seed", "reuse_a", "start_from")
"""Keys that mean nothing where there is no adapter."""


@dataclass(frozen=True, slots=True)
class Method:
    """One way to train.

    Attributes:
        name: as in ``loralloy train NAME``.
        title: for people.
        reference: where it comes from.
        adapts: whether it makes an adapter, or else a whole model.
        foreign: keys that it refuses, each with the reason.
        frozen_a: whether A stays as it was drawn.
        masked: whether only some entries of B are trained.
        check: refuses what is wrong for this method alone.
    """

    name: str
    title: str
    reference: str
    adapts: bool = True
    foreign: Mapping[str, str] = field(default_factory=dict)
    frozen_a: bool = False
    masked: bool = False
    check: Callable[[Job, Recipe], None] = lambda job, recipe: None


_NO_MASK = {"mask": "only lori_s trains under a mask"}
_NO_FROZEN_A = {
    "a_seed": "A is trained as well, and drawn by seed",
    "reuse_a": "A is trained as well; start_from goes on with a whole adapter",
}


def _check_lori_s(job: Job, recipe: Recipe) -> None:
    job.needed("mask")
    if recipe.weight_decay:
        raise TrainingError(
            "weight_decay would change the entries of B that the mask leaves out; set it to 0"
        )


def _check_full(job: Job, recipe: Recipe) -> None:
    if recipe.dtype != "float32":
        raise TrainingError(
            "dtype: full fine-tuning trains the weights themselves, whose small changes bfloat16 "
            "rounds away; use float32, with mixed_precision: bf16 for speed"
        )


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method("lora", "LoRA", "arXiv 2106.09685", foreign=_NO_MASK | _NO_FROZEN_A),
        Method("lori_d", "LoRI-D", "arXiv 2504.07448", foreign=_NO_MASK, frozen_a=True),
        Method(
            "lori_s",
            "LoRI-S",
            "arXiv 2504.07448",
            frozen_a=True,
            masked=True,
            check=_check_lori_s,
        ),
        Method(
            "full",
            "full fine-tuning",
            "all weights",
            adapts=False,
            foreign=_NO_MASK | dict.fromkeys(ADAPTER_KEYS, "full fine-tuning makes no adapter"),
            check=_check_full,
        ),
    )
}


def method_of(name: str) -> Method:
    """A method by its name.

    Raises:
        TrainingError: there is none of this name.
    """
    if name not in METHODS:
        raise TrainingError(f"there is no method {name!r}; there are {', '.join(METHODS)}")
    return METHODS[name]
