"""What a training method provides; each method's file makes one value of it, ``METHOD``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict

from adapters.files import WEIGHTS_FILE
from adapters.training.job import Job
from adapters.training.recipe import Recipe

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Trainable: TypeAlias = "PeftModel | PreTrainedModel"
State: TypeAlias = "dict[str, torch.Tensor]"
"""A model's parameters by their names, gathered from all processes."""


class Keys(BaseModel):
    """The keys of a recipe that one method alone has; a method that has some derives from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def inputs(self) -> dict[str, Path]:
        """Key → the file of an earlier run that it names; the card keeps the file's digest."""
        return {}


KeysT = TypeVar("KeysT", bound=Keys)


def _allow(job: Job, recipe: Recipe, keys: Keys) -> None:
    """Refuse nothing."""


def _unchanged(keys: KeysT, job: Job, recipe: Recipe, data: Mapping[str, str]) -> KeysT:
    """Settle nothing."""
    return keys


@dataclass(frozen=True, slots=True)
class Method(Generic[KeysT]):
    """One way to train.

    Attributes:
        name: as in ``loralloy train NAME``, and of its file.
        title: for people.
        reference: the paper that describes it.
        keys: the keys of a recipe that it has beside those of every job and recipe.
        prepare: makes the base model trainable: of the model that it returns, what requires a
            gradient is trained. It raises :class:`TrainingError` where adapter, base model and
            what the recipe names do not fit each other.
        save: writes what was trained into a folder, whole or not at all; takes the model, its
            tokenizer, its state, the base model's public name and the folder, and returns bytes.
        result: the file that a folder has once ``save`` is through.
        product: what it makes, as a card's first sentence begins.
        refused: keys of a job or recipe that mean nothing to it → the reason.
        check: raises :class:`TrainingError` at values that contradict each other or the method.
        settle: fills in keys that depend on the data, given as file or dataset → SHA-256.
    """

    name: str
    title: str
    reference: str
    keys: type[KeysT]
    prepare: "Callable[[PreTrainedModel, Job, Recipe, KeysT], Trainable]"
    save: "Callable[[Trainable, PreTrainedTokenizerBase, State, str, Path], int]"
    result: str = WEIGHTS_FILE
    product: str = "A LoRA adapter for"
    refused: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Job, Recipe, KeysT], None] = _allow
    settle: Callable[[KeysT, Job, Recipe, Mapping[str, str]], KeysT] = _unchanged

    @property
    def makes_adapter(self) -> bool:
        """Whether a server can take up the result, which otherwise is a model of its own."""
        return self.result == WEIGHTS_FILE
