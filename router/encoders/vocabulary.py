"""The base model's tokenizer: where it lies, and which vocabulary it has."""

import json
from hashlib import sha256
from os import environ
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
)
from tokenizers import Tokenizer

from router.errors import EncoderFailed

FILE_NAME = "tokenizer.json"


def load_tokenizer(source: Path) -> Tokenizer:
    """The tokenizer of a base model's folder, or of a ``tokenizer.json``; it never truncates.

    Raises:
        EncoderFailed: there is none, or the file is damaged.
    """
    path = source / FILE_NAME if source.is_dir() else source
    try:
        tokenizer: Tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise EncoderFailed(
            f"no tokenizer can be read from {source.name!r}: {err.strerror}; give the base model's"
            f" folder, with its {FILE_NAME}"
        ) from err
    except Exception as err:  # the library raises nothing narrower
        raise EncoderFailed(f"the {FILE_NAME} of {path.parent.name!r} is damaged: {err}") from err
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def found_tokenizer(base_model: str, *, local_files_only: bool = True) -> Path:
    """The ``tokenizer.json`` of a base model by its name: prepared, cached, or from the hub.

    Raises:
        EncoderFailed: it is nowhere.
    """
    root = environ.get("LORALLOY_CACHE_DIR")
    cache = Path(root).expanduser() if root else Path.home() / ".cache" / "loralloy"
    prepared = cache / "models" / base_model.rsplit("/", 1)[-1] / FILE_NAME
    if prepared.is_file():
        return prepared
    try:
        return Path(hf_hub_download(base_model, FILE_NAME, local_files_only=local_files_only))
    except (
        LocalEntryNotFoundError,
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        OSError,
    ) as err:
        raise EncoderFailed(
            f"the tokenizer of base model {base_model!r} is not on this machine; prepare the model"
            f" first, or give the folder that its {FILE_NAME} lies in"
        ) from err


def vocabulary_digest(tokenizer: Tokenizer) -> str:
    """SHA-256 (hex) of all tokens and their ids: equal digests mean that ids mean the same."""
    tokens = sorted((number, token) for token, number in tokenizer.get_vocab().items())
    return sha256(json.dumps(tokens, ensure_ascii=True).encode()).hexdigest()


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """One more than the largest id."""
    return max(tokenizer.get_vocab().values(), default=-1) + 1
