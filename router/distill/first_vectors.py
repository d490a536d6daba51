"""Where training begins: each token as the teacher sees it alone, in the student's space.

    row_t = a/(a + p_t) · P e(string of t)

with p_t the token's share of the training texts: words that are everywhere say little (smooth
inverse frequency: Arora, Liang and Ma, "A simple but tough-to-beat baseline for sentence
embeddings", ICLR 2017). P holds the directions in which embeddings of texts and tokens are
largest: principal components through the origin, since cosines are taken from the origin.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from router.distill.texts import Sample

RARITY = 1e-3
"""The a above: tokens more frequent than this weigh less than half."""

TOKEN_SHARE = 0.5
"""How much the tokens' embeddings count beside the texts' when directions are chosen."""

Rows = npt.NDArray[np.float32]


def token_strings(tokenizer: Tokenizer, size: int) -> list[str]:
    """Every token as text without blanks; empty for special tokens, which say nothing."""
    special = {
        number for number, added in tokenizer.get_added_tokens_decoder().items() if added.special
    }
    return ["" if token in special else tokenizer.decode([token]).strip() for token in range(size)]


def directions(texts: Rows, tokens: Rows, dimension: int) -> Rows:
    """Orthonormal directions [d, w] of the embeddings [n, w] and [V, w], strongest first."""
    moments = texts.T @ texts / len(texts) + TOKEN_SHARE * (tokens.T @ tokens) / len(tokens)
    _, vectors = np.linalg.eigh(moments.astype(np.float64))
    chosen: Rows = vectors[:, ::-1][:, :dimension].T.astype(np.float32)
    return chosen


def rarities(samples: Sequence[Sample], size: int) -> Rows:
    """Weights [V] = a / (a + p)."""
    counts = np.zeros(size)
    for sample in samples:
        np.add.at(counts, list(sample.ids), 1.0)
    shares = counts / max(1.0, counts.sum())
    weights: Rows = (RARITY / (RARITY + shares)).astype(np.float32)
    return weights
