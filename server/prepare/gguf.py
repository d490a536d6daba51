"""Turns a quantised GGUF file into a bf16 checkpoint: ``python -m server.prepare.gguf FILE OUT``.

A process of its own: the libraries that it loads start threads, which must not be alive in the
process that starts the engine.
"""

import sys
from functools import cache
from pathlib import Path

import gguf
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import logging

BASE_MODEL_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
CONTEXT_LENGTH = 8192


def convert(file: Path, out: Path) -> None:
    """Write the weights of ``file`` in bf16, its configuration and its tokenizer to ``out``."""
    folder, name = str(file.parent), file.name
    # transformers reads the file anew for configuration, weights and tokenizer, seconds each time.
    gguf.GGUFReader = cache(gguf.GGUFReader)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    # GGUF keeps this as a 32-bit float and a title of its own; these are the model's true values.
    model.config.rms_norm_eps = 1e-5
    model.config._model_name_or_path = BASE_MODEL_NAME
    model.save_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    tokenizer.model_max_length = CONTEXT_LENGTH
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
