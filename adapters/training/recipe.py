"""The recipe of a run: every number that shapes the adapter, as one frozen value and as flags."""

import argparse
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters.training.errors import TrainingError

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


class Recipe(BaseModel):
    """How an adapter is trained. Equal recipes on equal data give equal adapters on one machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(8, ge=1, le=512, description="rank of the adapter")
    lora_alpha: int = Field(16, ge=1, description="scaling is lora_alpha / rank")
    targets: tuple[str, ...] = Field(ATTENTION, description="modules, separated by commas")
    steps: int = Field(150, ge=1, description="optimiser steps")
    batch_size: int = Field(4, ge=1, description="examples a step")
    learning_rate: float = Field(1e-3, gt=0, description="peak; cosine decay to zero")
    warmup_steps: int = Field(10, ge=0, description="steps of linear warm-up")
    max_tokens: int = Field(256, ge=8, description="longer examples are left out")
    dtype: Literal["bfloat16", "float32"] = Field(
        "bfloat16", description="of the frozen base model; the adapter trains in float32"
    )
    seed: int = Field(0, ge=0, description="of the first weights and the order of examples")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give the parser a flag for each field, with the default in its help."""
    group = parser.add_argument_group("recipe")
    for name, field in Recipe.model_fields.items():
        default = ",".join(field.default) if name == "targets" else field.default
        group.add_argument(
            f"--{name.replace('_', '-')}",
            metavar="X",
            help=f"{field.description} (default: {default})",
        )


def recipe_from(options: argparse.Namespace) -> Recipe:
    """The recipe that the flags name.

    Raises:
        TrainingError: a value is out of its range.
    """
    given = {
        name: value for name in Recipe.model_fields if (value := getattr(options, name)) is not None
    }
    if "targets" in given:
        given["targets"] = tuple(part.strip() for part in given["targets"].split(",") if part)
    try:
        return Recipe.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        flag = f"--{str(first['loc'][0]).replace('_', '-')}"
        raise TrainingError(f"{flag}: {first['msg']}, not {first['input']!r}") from error
