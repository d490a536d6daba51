"""LoRA-TLE decoding, greedy, as it is defined: one step after the other, one request at a time.

``w_t`` are the weights for the text so far after ``t`` new tokens; step ``t`` picks new token ``t``
under the weights computed at step ``n ⌊t/n⌋``, for a stride of ``n``.

``recompute``: every step runs the whole prefix under its weights, without a cache.
``token``: the prompt runs under ``w_0``; then each step runs the newest token alone, under that
step's weights, over the keys and values that earlier steps left behind.

Source: Belofsky, "Token-Level Adaptation of LoRA Adapters", arXiv 2311.10847; but the budget
counts new tokens, and an end-of-text token ends the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from transformers import DynamicCache, PreTrainedTokenizerBase

from tests.reference.merged import MergedModel, Weights
from tests.reference.weighing import Weigh

Scope = Literal["token", "recompute"]


@dataclass(frozen=True)
class Generated:
    """What was generated, an end-of-text token at its end included.

    Attributes:
        tokens: the new tokens [n].
        weights: the weights [n] that each was picked under.
        logprobs: the log-probabilities [n, vocab] that each was picked from, fp64.
    """

    tokens: list[int]
    weights: list[Weights]
    logprobs: torch.Tensor


def generate(
    model: MergedModel,
    tokenizer: PreTrainedTokenizerBase,
    weigh: Weigh,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    stride: int = 1,
    scope: Scope = "recompute",
    ignore_eos: bool = False,
) -> Generated:
    """The most likely token, step by step, for at most ``max_new_tokens`` steps."""
    tokens: list[int] = []
    weights: list[Weights] = []
    rows: list[torch.Tensor] = []
    cache = DynamicCache() if scope == "token" else None
    while len(tokens) < max_new_tokens:
        due = len(tokens) % stride == 0
        weights.append(weigh(tokens) if due else weights[-1])
        model.become(weights[-1])
        newest = tokens[-1:] if cache is not None and tokens else [*prompt, *tokens]
        rows.append(model.next_logprobs(newest, cache))
        tokens.append(int(rows[-1].argmax()))
        if tokens[-1] == tokenizer.eos_token_id and not ignore_eos:
            break
    return Generated(tokens, weights, torch.stack(rows))
