"""Pairs of a wanted and an unwanted answer to one prompt, for DPO (arXiv 2305.18290)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.training.data.examples import encode
from adapters.training.data.templates import Example
from adapters.training.errors import TrainingError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Pair:
    """Texts; ``tokens`` of prompt and answer, both answers together."""

    prompt: str
    chosen: str
    rejected: str
    tokens: int


def fitting_pairs(
    examples: Iterable[Example], tokenizer: "PreTrainedTokenizerBase", max_tokens: int
) -> list[Pair]:
    """Every pair whose answers both fit, with the prompt, into ``max_tokens``.

    Raises:
        TrainingError: none fits.
    """
    pairs = []
    for example in examples:
        if example.rejected is None:
            raise TrainingError("these examples have no unwanted answer")
        wanted = encode(example, tokenizer)
        unwanted = encode(Example(example.prompt, example.rejected), tokenizer)
        lengths = [len(one.input_ids) for one in (wanted, unwanted)]
        if max(lengths) <= max_tokens:
            pairs.append(Pair(example.prompt, example.completion, example.rejected, sum(lengths)))
    if not pairs:
        raise TrainingError(f"no pair fits into {max_tokens} tokens; raise max_tokens")
    return pairs
