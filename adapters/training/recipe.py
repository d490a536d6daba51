"""The recipe of a run: the numbers that every method takes, as one frozen value."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")

SEEDS = 2**32
"""NumPy takes no larger seed."""

STEPS = 150
"""Optimiser steps of a recipe with neither steps nor epochs."""


class Recipe(BaseModel):
    """How a model is trained. Equal recipes on equal data give equal results on one machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(8, ge=1, le=512, description="rank of the adapter")
    lora_alpha: int = Field(16, ge=1, description="scaling is lora_alpha / rank")
    targets: tuple[str, ...] = Field(
        ATTENTION, min_length=1, description="modules that get an adapter"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="of what enters A")
    steps: int | None = Field(None, ge=1, description=f"optimiser steps ({STEPS} if nothing else)")
    epochs: float | None = Field(None, gt=0, description="in place of steps")
    batch_size: int = Field(4, ge=1, description="examples a step, of all processes together")
    micro_batch_size: int | None = Field(
        None, ge=1, description="examples that go through the model at once on one device"
    )
    learning_rate: float = Field(1e-3, gt=0, description="peak")
    schedule: Literal["cosine", "constant", "linear"] = Field(
        "cosine", description="of the learning rate, after warm-up"
    )
    warmup_steps: int = Field(10, ge=0, description="steps of linear warm-up")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    max_tokens: int = Field(256, ge=8, description="longer examples are left out")
    max_prompt_tokens: int | None = Field(
        None, ge=1, description="examples with longer prompts are left out"
    )
    loss: Literal["sft", "soft_sft", "dpo"] = Field(
        "sft", description="of the answer; see docs/training.md"
    )
    beta: float | None = Field(None, gt=0, description="of soft_sft and dpo")
    reduction: Literal["token", "example"] = Field(
        "token", description="mean over all tokens; or sum over an answer, mean over examples"
    )
    dtype: Literal["bfloat16", "float32"] = Field(
        "bfloat16", description="of the frozen base model; the adapter trains in float32"
    )
    mixed_precision: Literal["none", "bf16"] = Field("none", description="of the products")
    gradient_checkpointing: bool = Field(False, description="less memory, more time")
    packing: bool = Field(False, description="several examples in one row of max_tokens")
    seed: int = Field(
        0, ge=0, lt=SEEDS, description="of the first weights and the order of examples"
    )

    def total_steps(self, examples: int) -> int:
        """Optimiser steps over so many examples."""
        if self.epochs is not None:
            return max(1, round(self.epochs * examples / self.batch_size))
        return self.steps or STEPS
