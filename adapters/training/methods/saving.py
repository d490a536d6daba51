"""What a run has made, written whole or not at all: an adapter in PEFT's format, or a model."""

from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adapters.files import CONFIG_FILE, WEIGHTS_FILE
from adapters.training.methods.method import State

MODEL_FILE = "model.safetensors"


def save_adapter(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    state: State,
    base_name: str,
    folder: Path,
) -> int:
    """Write weights (bf16) and config; returns the bytes of the weights.

    The config goes first, so that a folder with weights is a finished one.

    Args:
        model: with the adapter ``default``.
        tokenizer: left where it is, since an adapter has none of its own.
        state: the model's, gathered from all processes.
        base_name: by which others know the base model.
        folder: of the run.
    """
    config = model.peft_config["default"]
    config.base_model_name_or_path = base_name
    config.inference_mode = True
    config.target_modules = sorted(config.target_modules)
    scratch = folder / "checkpoints" / "result"
    config.save_pretrained(str(scratch))
    found = get_peft_model_state_dict(model, state_dict=state, save_embedding_layers=False)
    weights = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in found.items()}
    save_file(weights, scratch / WEIGHTS_FILE, metadata={"format": "pt"})
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (scratch / name).replace(folder / name)
    return (folder / WEIGHTS_FILE).stat().st_size


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    state: State,
    base_name: str,
    folder: Path,
) -> int:
    """Write a whole model (bf16) that can be served as a base model; returns its bytes.

    The weights go last, so that a folder with weights is a finished one.

    Args:
        model: all of whose weights were trained.
        tokenizer: goes along.
        state: the model's, gathered from all processes.
        base_name: of what it was; the result is another model, and does not bear it.
        folder: of the run.
    """
    scratch = folder / "checkpoints" / "result"
    whole = {name: tensor.to(torch.bfloat16) for name, tensor in state.items()}
    model.config.dtype = torch.bfloat16
    model.save_pretrained(scratch, state_dict=whole, max_shard_size="1TB")
    tokenizer.save_pretrained(scratch)
    files = sorted(scratch.iterdir(), key=lambda file: file.name == MODEL_FILE)
    for file in files:
        file.replace(folder / file.name)
    return (folder / MODEL_FILE).stat().st_size
