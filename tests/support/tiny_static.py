"""A tokenizer of a few words, and the config of a static encoder for it."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from router.encoders.static_format import StaticConfig
from router.encoders.vocabulary import (
    vocabulary_digest,
    vocabulary_size,
)

WIDTH, TEACHER_WIDTH = 5, 8


def tiny_tokenizer(words=("add", "two", "numbers", "photosynthesis")):
    """Bytes, and a few words with the blank before them, as byte-level models have them."""
    vocabulary = {
        character: number
        for number, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))
    }
    merges = []
    for word in words:
        built = "Ġ"
        for letter in word:
            merges.append((built, letter))
            built += letter
            vocabulary.setdefault(built, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocabulary, list(dict.fromkeys(merges))))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>"])
    return tokenizer


def config_for(tokenizer, bits=8, **other):
    values = {
        "name": "static-tiny",
        "base_model": "nobody/tiny",
        "vocabulary_size": vocabulary_size(tokenizer),
        "vocabulary_sha256": vocabulary_digest(tokenizer),
        "teacher": "all-MiniLM-L6-v2",
        "teacher_dimension": TEACHER_WIDTH,
        "dimension": WIDTH,
        "bits": bits,
    }
    return StaticConfig(**(values | other))
