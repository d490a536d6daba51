"""A LoRA layer bound to the bank."""

from typing import Any, Final

import torch

from server.engine.bank.step_gates import StepGates

FEW_TOKENS: Final = 24
"""Tokens per slot in use up to which the CPU kernel beats two matrix products (docs/adr/0003)."""


class BoundLayer:
    """One LoRA layer's way into the bank: its punica wrapper, as far as it knows.

    Args:
        gates: the step's gates.
        layer: vLLM's LoRA layer, with its slots laid out for the bank.
    """

    def __init__(self, gates: StepGates, layer: Any) -> None:
        self._number: int = torch.ops.loralloy.bind_module(
            list(layer.lora_a_stacked),
            list(layer.lora_b_stacked),
            list(layer.output_slices),
            gates.tensors,
            FEW_TOKENS,
        )

    def add_lora_linear(self, y: torch.Tensor, x: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        """Add every token's mixture to ``y`` in place.

        Args:
            y: [T, Σ output slices].
            x: [T, in].
            args: the layer's stacked weights, scale and slices, which it was bound with.
            kwargs: what vLLM passes to other wrappers; no meaning here.
        """
        torch.ops.loralloy.gated_lora(y, x, self._number)
