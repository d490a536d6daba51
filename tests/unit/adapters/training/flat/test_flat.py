"""The flat files, which are there to be read, do what they say."""

import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from adapters.training import command
from adapters.training.methods import METHODS
from adapters.training.methods.lori import extract
from adapters.training.methods.lori.mask_files import read_masks

STEPS = 12


def run(monkeypatch, capsys, method, *arguments):
    """Run a flat file for a few steps; the losses that it printed."""
    module = import_module(f"adapters.training.flat.{method}")
    monkeypatch.setattr(module, "STEPS", STEPS)
    monkeypatch.setattr(sys, "argv", [method, *map(str, arguments)])
    module.main()
    return [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("method", ["lora", "lori_d"])
def test_adapters(tmp_path, tiny_base, maths_file, monkeypatch, capsys, method):
    losses = run(monkeypatch, capsys, method, tiny_base, maths_file, tmp_path / "out")
    assert len(losses) == STEPS
    assert losses[-1] < losses[0]
    found = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert all(tensor.any() for tensor in found.values())


def test_lori_s(tmp_path, tiny_base, maths_file, monkeypatch, capsys):
    dense, sparse = tmp_path / "dense", tmp_path / "sparse"
    run(monkeypatch, capsys, "lori_d", tiny_base, maths_file, dense)
    assert extract.main([str(dense)]) == 0
    capsys.readouterr()
    mask = dense / "masks" / "0.9_mask.safetensors"
    run(monkeypatch, capsys, "lori_s", tiny_base, maths_file, sparse, mask)
    (first, second), masks = (
        [load_file(folder / "adapter_model.safetensors") for folder in (dense, sparse)],
        read_masks(mask),
    )
    for name, tensor in second.items():
        if "lora_A" in name:
            assert torch.equal(tensor, first[name]), "the same seed, and never trained"
        else:
            kept = masks[name.replace(".lora_B.", ".lora_B.default.")]
            assert not tensor[~kept].any()


def test_full(tmp_path, tiny_base, maths_file, monkeypatch, capsys):
    losses = run(monkeypatch, capsys, "full", tiny_base, maths_file, tmp_path / "out")
    assert len(losses) == STEPS
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_every_method_has_a_flat_file_and_one_to_run():
    folder = Path(command.__file__).parent
    for name in METHODS:
        assert (folder / "flat" / f"{name}.py").is_file()
        assert (folder / "methods" / f"{name}.py").is_file()
