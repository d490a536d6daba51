"""Supervised fine-tuning of a LoRA adapter: the loss counts the tokens of the answer alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed
from trl import SFTConfig, SFTTrainer

from adapters.files import CONFIG_FILE, WEIGHTS_FILE
from adapters.training.data import Encoded
from adapters.training.errors import TrainingError
from adapters.training.progress import StepReport
from adapters.training.recipe import Recipe
from adapters.training.run_folder import RunFolder
from adapters.training.schedule import draw_batches


@dataclass(frozen=True, slots=True)
class Session:
    """Where and how a run is done; nothing in it changes the result."""

    folder: RunFolder
    title: str
    save_every: int = 25
    checkpoint: Path | None = None
    quiet: bool = False


def add_adapter(model: PreTrainedModel, recipe: Recipe) -> PeftModel:
    """Freeze the base model and put a fresh adapter (B = 0) on the recipe's modules.

    Raises:
        TrainingError: the base model has no such module.
    """
    set_seed(recipe.seed)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.lora_alpha,
        target_modules=list(recipe.targets),
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise TrainingError(f"--targets: {str(error).splitlines()[0]}") from error


def train(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Encoded],
    recipe: Recipe,
    session: Session,
) -> int:
    """Train the adapter of ``model`` in place; returns the number of tokens that were seen.

    Raises:
        TrainingError: the loss is no finite number any more.
    """
    lengths = [len(example.input_ids) for example in examples]
    batches = draw_batches(lengths, recipe.batch_size, recipe.steps, recipe.seed)
    tokens = [sum(lengths[index] for index in batch) for batch in batches]
    report = StepReport(session.folder.log, session.title, tokens, quiet=session.quiet)
    ordered = [examples[index] for batch in batches for index in batch]
    trainer = SFTTrainer(
        model=model,
        args=_arguments(recipe, session),
        train_dataset=Dataset.from_dict(
            {
                "input_ids": [list(example.input_ids) for example in ordered],
                "labels": [example.labels for example in ordered],
            }
        ),
        processing_class=tokenizer,
        callbacks=[report],
    )
    resumed_from = str(session.checkpoint) if session.checkpoint else None
    try:
        result = trainer.train(resume_from_checkpoint=resumed_from)
    finally:
        report.stop()
    if not math.isfinite(result.training_loss):
        raise TrainingError("training diverged (the loss is not finite); lower --learning-rate")
    return sum(tokens)


def _arguments(recipe: Recipe, session: Session) -> SFTConfig:
    return SFTConfig(
        output_dir=str(session.folder.checkpoints),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch_size,
        # The order is drawn ahead (see schedule.py), which is what makes resuming exact.
        train_sampling_strategy="sequential",
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup_steps,
        max_length=recipe.max_tokens,
        packing=False,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        seed=recipe.seed,
        save_steps=session.save_every,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
    )


def save_adapter(model: PeftModel, base_name: str, folder: Path) -> int:
    """Write weights (bf16) and config, each whole or not at all; returns the bytes of the weights.

    The config goes first, so that a folder with weights is a finished one.
    """
    config = model.peft_config["default"]
    config.base_model_name_or_path = base_name
    config.inference_mode = True
    config.target_modules = sorted(config.target_modules)
    scratch = folder / "checkpoints" / "result"
    config.save_pretrained(str(scratch))
    weights = {
        name: tensor.to(torch.bfloat16).contiguous()
        for name, tensor in get_peft_model_state_dict(model, save_embedding_layers=False).items()
    }
    save_file(weights, scratch / WEIGHTS_FILE, metadata={"format": "pt"})
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (scratch / name).replace(folder / name)
    return (folder / WEIGHTS_FILE).stat().st_size
