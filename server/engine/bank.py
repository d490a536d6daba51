"""The gated bank in vLLM's place for LoRA: a punica wrapper that applies mixtures.

vLLM's LoRA layers call ``add_lora_linear`` with the slots' stacked weights. The stock CPU wrapper
gives each token one adapter, by gathering its weights; ours gives each token a mixture of the
slots, and base-model tokens nothing at all (the stock one hands them the last slot's adapter).
"""

from typing import Any, Final

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.lora.punica_wrapper.punica_gpu import PunicaWrapperGPU

from server.engine.step import StepGates

FEW_TOKENS: Final = 24
"""Tokens per slot in use up to which the CPU kernel beats two matrix products (see the ADR)."""


class _Gated:
    """What both wrappers share: the step's gates, and the operator in place of the stock ops."""

    gates: StepGates

    def _prepare(self, max_tokens: int, max_slots: int, device: torch.device | str) -> None:
        self.gates = StepGates(max_tokens, max_slots, device)
        # A plain attribute, read while the model is traced: the list itself must not change.
        self._step = self.gates.tensors

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        lora_b_stacked: tuple[torch.Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        **kwargs: Any,
    ) -> None:
        """Add every token's mixture to ``y`` in place.

        Args:
            y: [T, Σ output_slices].
            x: [T, in].
            lora_a_stacked: per slice [slots, 1, max_rank, in].
            lora_b_stacked: per slice [slots, 1, slice, max_rank], scaling multiplied in.
            scale: 1.0, as vLLM's layers always pass it.
            output_slices: sizes of the slices.
            kwargs: what vLLM passes to other wrappers; no meaning here.
        """
        torch.ops.loralloy.gated_lora(
            y,
            x,
            list(lora_a_stacked),
            list(lora_b_stacked),
            list(output_slices),
            self._step,
            FEW_TOKENS,
        )


class GatedPunicaCPU(_Gated, PunicaWrapperCPU):
    """The bank on CPU."""

    def __init__(
        self, max_num_batched_tokens: int, max_batches: int, device: torch.device | str, **kwargs: Any
    ) -> None:
        PunicaWrapperCPU.__init__(self, max_num_batched_tokens, max_batches, device, **kwargs)
        self._prepare(max_num_batched_tokens, kwargs["lora_config"].max_loras, device)


class GatedPunicaGPU(_Gated, PunicaWrapperGPU):
    """The bank on a GPU, by the operator's form in plain torch. Written, never run: see status."""

    def __init__(
        self, max_num_batched_tokens: int, max_batches: int, device: torch.device | str, **kwargs: Any
    ) -> None:
        PunicaWrapperGPU.__init__(self, max_num_batched_tokens, max_batches, device, **kwargs)
        self._prepare(max_num_batched_tokens, kwargs["lora_config"].max_loras, device)


def store_outputs_contiguous(modules: dict[str, Any]) -> None:
    """Lay out every module's B with the outputs contiguous, behind views of vLLM's shape.

    vLLM allocates ``[slots, 1, out, rank]`` and copies adapters into slices of it; the copy works
    on any strides, and the kernel wants a row of B contiguous along the outputs.
    """
    for module in modules.values():
        stacked = getattr(module, "lora_b_stacked", None)
        if stacked is None:
            continue
        module.lora_b_stacked = tuple(
            torch.zeros(
                (*tensor.shape[:2], tensor.shape[3], tensor.shape[2]),
                dtype=tensor.dtype,
                device=tensor.device,
            ).transpose(2, 3)
            for tensor in stacked
        )
