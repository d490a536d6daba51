"""TRL's trainers, set up by a recipe; the order of examples is drawn ahead."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset, disable_progress_bars
from transformers import PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from adapters.training.data.examples import Encoded
from adapters.training.data.pairs import Pair
from adapters.training.errors import TrainingError
from adapters.training.methods.method import Trainable
from adapters.training.recipe import Recipe
from adapters.training.run.losses import reduced, sft, soft_sft

Examples = Sequence[Encoded] | Sequence[Pair]


@dataclass(frozen=True, slots=True)
class Saving:
    """When a run is saved, and where.

    Attributes:
        checkpoints: the folder that they go into.
        every: steps between two of them.
    """

    checkpoints: Path
    every: int


class AnswerTrainer(SFTTrainer):
    """Minimises a loss of the answers' tokens; see ``losses.py``."""

    def __init__(self, recipe: Recipe, **arguments: object) -> None:
        """Train by ``recipe``; the rest is TRL's."""
        self._recipe = recipe
        super().__init__(**arguments)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """The loss of one micro-batch, of which all that make a step add up to the step's."""
        recipe = self._recipe
        whole = {**inputs, "use_cache": False, "fused_lm_head": True}
        outputs = model(**whole)
        if recipe.loss == "soft_sft" and recipe.beta is not None:
            bare = self.accelerator.unwrap_model(model)
            with torch.no_grad(), bare.disable_adapter():
                reference = model(**whole).log_probs
            losses = soft_sft(outputs.log_probs, reference, recipe.beta)
        else:
            losses = sft(outputs.log_probs)
        counted = outputs.label_mask
        tokens = counted.sum() if num_items_in_batch is None else num_items_in_batch
        total = recipe.batch_size if recipe.reduction == "example" else tokens
        # Gradients are averaged over processes afterwards, and a step is the sum of all.
        processes: int = self.accelerator.num_processes
        return reduced(losses, counted, total=total) * processes


def make_trainer(
    model: Trainable,
    tokenizer: PreTrainedTokenizerBase,
    examples: Examples,
    recipe: Recipe,
    saving: Saving,
    report: TrainerCallback,
) -> Trainer:
    """A trainer over examples in the order in which they are to be used.

    Raises:
        TrainingError: a step's batch cannot be shared out over the processes that there are.
    """
    disable_progress_bars()  # of the library ``datasets``; ours shows the run
    arguments = _arguments(recipe, saving)
    common: dict[str, Any] = {
        "model": model,
        "processing_class": tokenizer,
        "callbacks": [report],
    }
    trainer = (
        _dpo(examples, recipe, arguments, common)
        if recipe.loss == "dpo"
        else _answers(examples, recipe, arguments, common)
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _dpo(
    examples: Examples, recipe: Recipe, arguments: dict[str, Any], common: dict[str, Any]
) -> Trainer:
    pairs = [example for example in examples if isinstance(example, Pair)]
    return DPOTrainer(
        args=DPOConfig(**arguments, beta=recipe.beta),
        train_dataset=_columns(
            pairs,
            prompt=lambda pair: pair.prompt,
            chosen=lambda pair: pair.chosen,
            rejected=lambda pair: pair.rejected,
        ),
        **common,
    )


def _answers(
    examples: Examples, recipe: Recipe, arguments: dict[str, Any], common: dict[str, Any]
) -> Trainer:
    encoded = [example for example in examples if isinstance(example, Encoded)]
    return AnswerTrainer(
        recipe,
        args=SFTConfig(**arguments, packing=recipe.packing),
        train_dataset=_columns(
            encoded, input_ids=lambda one: list(one.input_ids), labels=lambda one: one.labels
        ),
        **common,
    )


def _columns(examples: Sequence[Any], **columns: Callable[[Any], Any]) -> Dataset:
    return Dataset.from_dict(
        {name: [read(one) for one in examples] for name, read in columns.items()}
    )


def _arguments(recipe: Recipe, saving: Saving) -> dict[str, Any]:
    """The arguments that both trainers take."""
    micro = recipe.micro_batch_size
    processes = PartialState().num_processes
    if micro is None:
        micro, left = divmod(recipe.batch_size, processes)
        accumulated = 1
    else:
        accumulated, left = divmod(recipe.batch_size, micro * processes)
    if left or not micro or not accumulated:
        raise TrainingError(
            f"batch_size {recipe.batch_size} cannot be shared out over {processes} processes"
            + (f" in micro-batches of {recipe.micro_batch_size}" if recipe.micro_batch_size else "")
        )
    warm = recipe.warmup_steps > 0
    schedule = "constant_with_warmup" if recipe.schedule == "constant" and warm else recipe.schedule
    return {
        "output_dir": str(saving.checkpoints),
        "max_steps": recipe.steps,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": accumulated,
        # The order is drawn ahead (see data/order.py), which is what makes resuming exact.
        "train_sampling_strategy": "sequential",
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": schedule,
        "warmup_steps": recipe.warmup_steps,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "max_length": recipe.max_tokens,
        "bf16": recipe.mixed_precision == "bf16",
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": False,
        "seed": recipe.seed,
        "save_steps": saving.every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": "none",
    }
