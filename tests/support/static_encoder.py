"""A static encoder for the tiny base: every token has the real encoder's vector of its own text."""

from pathlib import Path

import numpy as np

from router.encoders import Encoder
from router.encoders.static_format import StaticConfig, write_folder
from router.encoders.vocabulary import load_tokenizer, vocabulary_digest, vocabulary_size


def make_static(base: Path, teacher: Encoder, folder: Path) -> Path:
    """Write the folder; the projection is the identity, so that nothing lies outside."""
    tokenizer = load_tokenizer(base)
    size, width = vocabulary_size(tokenizer), teacher.dimension
    special = set(tokenizer.get_added_tokens_decoder())
    texts = [tokenizer.decode([number]) for number in range(size)]
    rows = teacher.encode(texts)
    rows[[number for number in range(size) if number in special or not texts[number]]] = 0
    config = StaticConfig(
        name=folder.name,
        base_model=base.name,
        vocabulary_size=size,
        vocabulary_sha256=vocabulary_digest(tokenizer),
        teacher=teacher.space.name,
        teacher_dimension=width,
        dimension=width,
        bits=8,
    )
    write_folder(folder, config, rows, np.eye(width))
    return folder
