"""Proof that every LoRA layer of this worker passes the bank: by what a dummy row does in each.

A layer that calls another wrapper answers as the base model, without a word. So each computes one
row three times: with an empty slot, with weights in it and no gate, and with a gate. The first two
must be equal to the bit, and in the third every slice of the output must move.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch

from server.engine.bank.bound_layer import BoundLayer
from server.engine.bank.step_gates import SlotGates, StepGates
from server.engine.messages import BankProof

RANK: Final = 2
SLOT: Final = 0
WEIGHT: Final = 1.0
"""Of each number in the slot's rows: so large that rounding cannot hide the sum."""


def prove(modules: dict[str, Any], gates: StepGates) -> BankProof:
    """Send a row through each of a worker's LoRA layers.

    Args:
        modules: vLLM's LoRA layers by name, before any adapter is in a slot.
        gates: the buffers that the bank reads; without gates afterwards.
    """
    gate = SlotGates((SLOT,), (1.0,), (1.0,), crossed=False)
    unbound, unmoved, ungated = [], [], []
    for name, module in modules.items():
        if not isinstance(module.punica_wrapper, BoundLayer):
            unbound.append(name)
            continue
        gates.clear()
        empty = _output(module)
        with _filled(module):
            without = _output(module)
            gates.fill([gate], [1], {SLOT: RANK})
            moved = _output(module) != without
            gates.clear()
        if not torch.equal(empty, without):
            ungated.append(name)
        if not all(bool(part.any()) for part in moved.split(list(module.output_slices), dim=1)):
            unmoved.append(name)
    return BankProof(tuple(unbound), tuple(unmoved), tuple(ungated))


def _output(module: Any) -> torch.Tensor:
    """What the layer makes of one row."""
    stacked = module.lora_a_stacked[0]
    generator = torch.Generator().manual_seed(0)
    row = torch.randn(1, stacked.shape[3], generator=generator).to(stacked.dtype)
    with torch.inference_mode():
        output: torch.Tensor = module.apply(row)
    return output.clone()


@contextmanager
def _filled(module: Any) -> Iterator[None]:
    """Weights in the slot, for as long; the slot is empty afterwards, as it was before."""
    generator = torch.Generator().manual_seed(1)
    try:
        for a, b in zip(module.lora_a_stacked, module.lora_b_stacked, strict=True):
            a[SLOT, 0, :RANK] = torch.randn(RANK, a.shape[3], generator=generator)
            b[SLOT, 0, :, :RANK] = WEIGHT
        yield
    finally:
        for tensor in (*module.lora_a_stacked, *module.lora_b_stacked):
            tensor[SLOT] = 0
