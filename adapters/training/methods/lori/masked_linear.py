"""B under a mask: an entry outside is used as it is, and not trained.

The mask is part of the product, y = (M ⊙ B + (1 − M) ⊙ stop(B)) x, so that its gradient is zero
outside by the chain rule: also where gradients are accumulated, clipped, or gathered from several
processes (FSDP), which a hook on the parameter would miss. AdamW without weight decay moves no
entry whose gradient was always zero.
"""

from typing import cast

import torch
from torch import nn
from torch.nn import functional

from adapters.training.errors import TrainingError
from adapters.training.methods.lori.masks import Factors


class MaskedLinear(nn.Linear):
    """A linear layer some of whose weights are trained; it has the weight of another one.

    Args:
        linear: whose weight [out, in] it takes over, as the same parameter.
        mask: which entries are trained [out, in], booleans.
    """

    mask: torch.Tensor

    def __init__(self, linear: nn.Linear, mask: torch.Tensor) -> None:
        # On no device, since the weight is the other one's.
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.weight = linear.weight
        self.register_buffer("mask", mask.to(linear.weight.device), persistent=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The product [..., out] with an input [..., in]."""
        weight = torch.where(self.mask, self.weight, self.weight.detach())
        return functional.linear(input, weight)


def mask_b(model: nn.Module, masks: Factors) -> None:
    """Train only the masked entries of every B of the adapter ``default``.

    Args:
        model: with the adapter.
        masks: parameter's name → booleans of B's shape [out, rank].

    Raises:
        TrainingError: a B has no mask, or one of another shape, or a mask has no B.
    """
    found = {
        name: cast(nn.Linear, module)
        for name, module in model.named_modules()
        if name.endswith(".lora_B.default")
    }
    if strangers := sorted(set(masks) - {f"{name}.weight" for name in found}):
        raise TrainingError(f"the mask is for {strangers[0]}, which the model does not have")
    for name, linear in found.items():
        mask = masks.get(f"{name}.weight")
        if mask is None:
            raise TrainingError(f"the mask has nothing for {name}.weight; is it of another model?")
        if mask.shape != linear.weight.shape:
            raise TrainingError(
                f"the mask of {name}.weight is {list(mask.shape)}, and B is "
                f"{list(linear.weight.shape)}: another rank or model"
            )
        parent, _, last = name.rpartition(".")
        model.get_submodule(parent).add_module(last, MaskedLinear(linear, mask))
