"""A layer that does not pass the bank is found by what a row does in it, and named."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import linear

from server.engine.bank.bound_layer import BoundLayer
from server.engine.bank.kernels.build import branches_here
from server.engine.bank.step_gates import StepGates
from server.engine.worker.proof import prove
from tests.support.kernels import compiled

SLOTS, RANK, SIZE_IN = 3, 8, 24


class Layer:
    """A linear with LoRA, as vLLM's call their wrapper (tests/engine/test_start.py has those)."""

    def __init__(self, slices: tuple[int, ...], dtype: torch.dtype, gates: StepGates) -> None:
        self.output_slices = slices
        self.weight = torch.randn(sum(slices), SIZE_IN).to(dtype)
        self.lora_a_stacked = tuple(
            torch.zeros(SLOTS, 1, RANK, SIZE_IN, dtype=dtype) for _ in slices
        )
        self.lora_b_stacked = tuple(
            torch.zeros(SLOTS, 1, RANK, size, dtype=dtype).transpose(2, 3) for size in slices
        )
        self.punica_wrapper: Any = BoundLayer(gates, self)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        y = linear(x, self.weight)
        stacked = (self.lora_a_stacked, self.lora_b_stacked)
        self.punica_wrapper.add_lora_linear(y, x, *stacked, 1.0, self.output_slices)
        return y


@pytest.fixture(params=[torch.float32, torch.bfloat16, torch.float16])
def layers(request) -> tuple[dict[str, Layer], StepGates]:
    compiled(branches_here()[0])
    gates = StepGates(4, SLOTS, "cpu")
    slices = {"qkv": (12, 4, 4), "o": (24,), "gate_up": (40, 40), "down": (24,)}
    return {name: Layer(sizes, request.param, gates) for name, sizes in slices.items()}, gates


def test_live_layers_pass_and_are_left_empty(layers) -> None:
    found, gates = layers
    proof = prove(found, gates)
    assert (proof.unbound, proof.unmoved, proof.ungated) == ((), (), ())
    for layer in found.values():
        assert not any(t.any() for t in (*layer.lora_a_stacked, *layer.lora_b_stacked))
    assert gates.tensors[0].tolist() == [0, 0], "no gates are left behind"


Change = Callable[[Layer, Callable[..., None], torch.Tensor, torch.Tensor], None]


def through(change: Change) -> Callable[[Layer], None]:
    """Breaks a layer: its call of the bank becomes ``change``, which gets the call."""

    def break_it(layer: Layer) -> None:
        call = layer.punica_wrapper.add_lora_linear
        layer.punica_wrapper.add_lora_linear = lambda y, x, *args: change(layer, call, y, x)

    return break_it


def does_nothing(layer: Layer, call: Any, y: torch.Tensor, x: torch.Tensor) -> None:
    pass


def misses_its_last_slice(layer: Layer, call: Any, y: torch.Tensor, x: torch.Tensor) -> None:
    last = y[:, -layer.output_slices[-1] :].clone()
    call(y, x)
    y[:, -layer.output_slices[-1] :] = last


def moves_always(layer: Layer, call: Any, y: torch.Tensor, x: torch.Tensor) -> None:
    call(y, x)
    y += layer.lora_b_stacked[-1][0].sum()


def stale(layer: Layer) -> None:
    """Its slots were allocated anew after it was bound."""
    layer.lora_b_stacked = tuple(t.clone() for t in layer.lora_b_stacked)


def calls_another(layer: Layer) -> None:
    layer.punica_wrapper = object()


@pytest.mark.parametrize("name", ["qkv", "o", "gate_up", "down"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (through(does_nothing), "unmoved"),
        (stale, "unmoved"),
        (through(moves_always), "ungated"),
        (calls_another, "unbound"),
    ],
)
def test_a_broken_layer_is_named(layers, name: str, fault: Callable[[Layer], None], kind: str):
    found, gates = layers
    fault(found[name])
    proof = prove(found, gates)
    for attribute in ("unbound", "unmoved", "ungated"):
        assert getattr(proof, attribute) == ((name,) if attribute == kind else ()), attribute


def test_a_layer_of_which_one_slice_stays_still_is_named(layers) -> None:
    found, gates = layers
    through(misses_its_last_slice)(found["qkv"])
    assert prove(found, gates).unmoved == ("qkv",)
