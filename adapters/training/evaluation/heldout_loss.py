"""Held-out response loss: how likely a model finds answers that it was not trained on.

    loss = Σ_i Σ_t −log p(y_it | x_i, y_i,<t) / Σ_i T_i        (nats a token, end of text included)

with a 95 % interval by the bootstrap over the items i: resampled with replacement, percentile
method (Efron and Tibshirani 1993, ch. 13).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from adapters.training.data.examples import Encoded
from adapters.training.evaluation.models import Sums
from adapters.training.run.card import Figure

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_SIZE = 8
RESAMPLES = 2000


def response_losses(model: "PreTrainedModel", items: Sequence[Encoded]) -> Sums:
    """Summed loss of each item's answer, in the order of ``items`` [n], in nats.

    Only the answer's tokens reach the output head, which is the largest matrix of a small model.
    """
    sums = np.zeros(len(items))
    by_length = sorted(range(len(items)), key=lambda index: len(items[index].input_ids))
    for start in range(0, len(items), BATCH_SIZE):
        chosen = by_length[start : start + BATCH_SIZE]
        sums[chosen] = _batch_losses(model, [items[index] for index in chosen])
    return sums


@torch.inference_mode()
def _batch_losses(model: "PreTrainedModel", items: Sequence[Encoded]) -> Sums:
    """Summed answer loss of each item of one batch [b]; padding goes right, out of causal sight."""
    width = max(len(item.input_ids) for item in items)
    ids = torch.zeros(len(items), width, dtype=torch.long, device=model.device)
    attended, predicted = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
    for row, item in enumerate(items):
        length = len(item.input_ids)
        ids[row, :length] = torch.tensor(item.input_ids)
        attended[row, :length] = 1
        predicted[row, item.prompt_tokens : length] = True
    body = getattr(model, model.base_model_prefix)
    hidden = body(input_ids=ids, attention_mask=attended, use_cache=False).last_hidden_state
    # The state at t − 1 predicts token t.
    logits = model.get_output_embeddings()(hidden[:, :-1][predicted[:, 1:]]).float()
    losses = functional.cross_entropy(logits, ids[predicted], reduction="none")
    rows = predicted.nonzero()[:, 0]
    summed = torch.zeros(len(items), device=ids.device).index_add_(0, rows, losses)
    return summed.double().cpu().numpy()


def loss_with_interval(sums: Sums, tokens: Sums, seed: int = 0) -> Figure:
    """Loss a token with its interval, from each item's summed loss [n] and token count [n]."""
    picks = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    resampled = sums[picks].sum(axis=1) / tokens[picks].sum(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    mean = sums.sum() / tokens.sum()
    return Figure(mean=_rounded(mean), low=_rounded(low), high=_rounded(high))


def _rounded(value: float) -> float:
    return round(float(value), 4)
