"""The gated bank in vLLM's place for LoRA: a punica wrapper that applies mixtures.

vLLM's LoRA layers call ``add_lora_linear`` of their wrapper. The stock CPU wrapper gives each token
one adapter, by gathering its weights; ours gives each token a mixture of the slots, and base-model
tokens nothing at all (vLLM 0.32's hands them the last slot's adapter; 0.33 mends that).
"""

from typing import Any

import torch
from vllm.lora.punica_wrapper.punica_base import PunicaWrapperBase
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

from server.engine.bank.bound_layer import BoundLayer
from server.engine.bank.step_gates import StepGates


class GatedPunica(PunicaWrapperBase):
    """The step's gates, and the layers bound to them, on any device."""

    gates: StepGates

    def __init__(self, max_num_batched_tokens: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(max_num_batched_tokens, *args, **kwargs)
        # Before any layer is bound or traced: the buffers keep their addresses from here on.
        self.gates = StepGates(max_num_batched_tokens, kwargs["lora_config"].max_loras, self.device)

    def add_lora_linear(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: every layer calls through its own :class:`BoundLayer`."""
        raise RuntimeError("a LoRA layer is not bound to the gated bank")


class GatedPunicaCPU(GatedPunica, PunicaWrapperCPU):
    """The bank on CPU."""


def bind_layers(modules: dict[str, Any]) -> None:
    """Lay out the layers' slots for the kernel and bind each layer to the bank.

    vLLM allocates B as ``[slots, 1, out, rank]`` and copies adapters into slices of it; the copy
    works on any strides, and the kernel wants a row of B contiguous along the outputs.
    """
    for module in modules.values():
        stacked = getattr(module, "lora_b_stacked", None)
        wrapper = getattr(module, "punica_wrapper", None)
        if stacked is None or not isinstance(wrapper, GatedPunica):
            continue
        # Outside inference mode torch counts the writes to a tensor, wherever they happen; by that
        # the kernel knows whether the form in which it keeps the slots packed is still true.
        with torch.inference_mode(False):
            module.lora_a_stacked = tuple(
                tensor.clone() if tensor.is_inference() else tensor
                for tensor in module.lora_a_stacked
            )
            module.lora_b_stacked = tuple(
                torch.zeros(
                    (*tensor.shape[:2], tensor.shape[3], tensor.shape[2]),
                    dtype=tensor.dtype,
                    device=tensor.device,
                ).transpose(2, 3)
                for tensor in stacked
            )
        module.punica_wrapper = BoundLayer(wrapper.gates, module)
