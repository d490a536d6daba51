"""Linear layers whose weights are laid out for the processor once, and not at every call.

What torch does for ``nn.Linear`` in bfloat16 on CPU lays the weight out anew for each product; for
the short texts that are embedded while answers are made, that is a fifth to a third of an
embedding. The two operators are those that ``torch.compile`` puts in place of a frozen layer.
"""

import torch
from torch import Tensor, nn


def is_supported() -> bool:
    """Whether this build of torch and this processor have such products in bfloat16."""
    operators = torch.ops.mkldnn
    known = all(
        hasattr(operators, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    )
    return known and torch.backends.mkldnn.is_available() and bool(_takes_bfloat16())


def prepare(model: nn.Module) -> int:
    """Replace every ``nn.Linear`` in bfloat16 below a model on CPU by its prepared form.

    Returns:
        How many were replaced; 0 where it is not supported.
    """
    if not is_supported():
        return 0
    replaced = 0
    for name, child in list(model.named_children()):
        if type(child) is nn.Linear and _is_ours(child.weight):
            setattr(model, name, PreparedLinear(child))
            replaced += 1
        else:
            replaced += prepare(child)
    return replaced


class PreparedLinear(nn.Module):
    """x Wᵀ + b for inference, with W [out, in] and b [out] of another layer."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        with torch.no_grad():
            self._weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
        self._bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] → [..., out]."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return y


def _is_ours(weight: Tensor) -> bool:
    return weight.dtype == torch.bfloat16 and weight.device.type == "cpu"


def _takes_bfloat16() -> bool:
    asked = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return asked is not None and bool(asked())
