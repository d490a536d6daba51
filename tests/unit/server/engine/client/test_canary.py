"""The canary: what its two answers tell, and an adapter that passes every check of an upload."""

import math
from pathlib import Path

import pytest

from adapters.validation.base_model import read_base_model
from server.engine.client.canary import LEAST_MOVE, RANK, verdict, write_adapter

PLAIN = [-3.0, -7.5, -0.25]


@pytest.mark.parametrize("at", range(3))
def test_one_moved_number_is_enough(at: int) -> None:
    mixed = [value - 2 * LEAST_MOVE * (n == at) for n, value in enumerate(PLAIN)]
    assert verdict(PLAIN, mixed) is None
    assert verdict(PLAIN, [2 * a - b for a, b in zip(PLAIN, mixed, strict=True)]) is None


@pytest.mark.parametrize("off", [0.0, 1e-6, LEAST_MOVE / 2, -LEAST_MOVE / 2])
def test_what_rounding_moves_is_the_base_model(off: float) -> None:
    assert "answers as the base model" in (verdict(PLAIN, [v + off for v in PLAIN]) or "")


@pytest.mark.parametrize("mixed", [[math.nan] * 3, [-3.0, math.nan, -0.25]])
def test_no_number_is_no_move(mixed: list[float]) -> None:
    assert verdict(PLAIN, mixed) is not None


def test_a_base_model_of_no_numbers_is_said() -> None:
    assert "no numbers" in (verdict([math.nan] * 3, PLAIN) or "")


@pytest.mark.parametrize(("plain", "mixed"), [([], []), (PLAIN, PLAIN[:2]), ([], PLAIN)])
def test_an_answer_that_is_cut_short_is_no_proof(plain, mixed) -> None:
    assert "log-probabilities for a prompt" in (verdict(plain, mixed) or "")


def test_the_adapter_touches_every_linear_of_every_layer(tiny_base: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    base = read_base_model(tiny_base, "tiny")
    write_adapter(tmp_path, base)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert len(tensors) == 2 * base.num_layers * len(base.linears)
    for layer in range(base.num_layers):
        for suffix, (size_out, size_in) in base.linears.items():
            name = f"base_model.model.model.layers.{layer}.{suffix}"
            assert tensors[f"{name}.lora_A.weight"].shape == (RANK, size_in)
            assert tensors[f"{name}.lora_B.weight"].shape == (size_out, RANK)
            assert tensors[f"{name}.lora_B.weight"].any()
