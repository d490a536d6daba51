"""The frozen base model that adapters are trained on and measured with."""

import json
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from adapters.training.errors import TrainingError


def load_base(path: str, dtype: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Base model and tokenizer from a folder, or from a hub by name.

    Raises:
        TrainingError: there is no such model.
    """
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(f"cannot load the base model {path}: {reason}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def public_name(path: str) -> str:
    """The name by which others know the base model: as its config has it, else the path's end.

    A path of this machine means nothing elsewhere, so it never enters an adapter's config.
    """
    folder = Path(path)
    if not folder.is_dir():
        return path
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return str(config.get("_model_name_or_path") or config.get("_name_or_path") or folder.name)
