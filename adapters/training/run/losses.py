"""What is minimised, from the log-probabilities of the answer's tokens.

    sft        −log p
    soft_sft   −(2/β) log σ(β (log p − log p₀))     p₀: the model without what is trained

soft_sft is the constrained objective of Qi et al. (arXiv 2406.05946, eq. 3), one of LoRI's losses:
the further a token's probability has risen over p₀, the less it is pushed. Its gradient is that of
sft where p = p₀. The third, dpo (arXiv 2305.18290), is TRL's.
"""

import torch
from torch.nn import functional


def sft(log_probs: torch.Tensor) -> torch.Tensor:
    """−log p of each token, of any shape."""
    return -log_probs


def soft_sft(log_probs: torch.Tensor, reference: torch.Tensor, beta: float) -> torch.Tensor:
    """The constrained loss of each token, of any shape; ``reference`` holds log p₀."""
    return -2 / beta * functional.logsigmoid(beta * (log_probs - reference))


def reduced(
    losses: torch.Tensor, counted: torch.Tensor, *, total: torch.Tensor | int
) -> torch.Tensor:
    """The sum over the tokens that count, divided by what makes up one step.

    Args:
        losses: of each token [b, t].
        counted: tokens of answers [b, t], booleans.
        total: tokens of the whole step, in all its micro-batches, for the mean over tokens; its
            examples for the sum over each answer and the mean over examples, as LoRI trains.
    """
    return (losses * counted).sum() / total
