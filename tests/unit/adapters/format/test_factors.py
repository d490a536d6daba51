"""The factors of an adapter on disk, by module."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from adapters.errors import AdapterError, MissingFile, MissingPair, TooLarge
from adapters.files import CONFIG_FILE, WEIGHTS_FILE
from adapters.format.factors import read_factors
from adapters.limits import Limits

Q, K = "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj"


def written(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["q_proj", "k_proj"]}
    (folder / CONFIG_FILE).write_text(json.dumps(config | {"alpha_pattern": {"k_proj": 1}}))
    save_file(tensors, folder / WEIGHTS_FILE)
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_factors_are_in_fp32_in_the_order_of_their_modules(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    tensors = {
        f"{Q}.lora_A.weight": torch.full((2, 3), 1.5),
        f"{Q}.lora_B.weight": torch.full((4, 2), 2.5),
        f"base_model.model.{K}.lora_B.weight": torch.full((5, 2), -0.5),
        f"base_model.model.{K}.lora_A.default.weight": torch.full((2, 3), 3.0),
    }
    found = read_factors(written(tmp_path, {n: t.to(dtype) for n, t in tensors.items()}))
    assert list(found) == [K, Q]
    assert (found[K].scaling, found[Q].scaling) == (0.5, 3.0)
    for one, a, b in ((found[Q], (2, 3, 1.5), (4, 2, 2.5)), (found[K], (2, 3, 3.0), (5, 2, -0.5))):
        for factor, (rows, columns, value) in ((one.a, a), (one.b, b)):
            assert torch.equal(factor, torch.full((rows, columns), value))
            assert factor.dtype == torch.float32


@pytest.mark.parametrize("factor", ["A", "B"])
def test_a_factor_alone_is_told(factor: str, tmp_path: Path) -> None:
    folder = written(tmp_path, {f"{Q}.lora_{factor}.weight": torch.ones(2, 2)})
    with pytest.raises(MissingPair) as caught:
        read_factors(folder)
    assert str(caught.value) == f"{Q} has lora_{factor} alone"


def test_files_are_read_up_to_their_bounds(tmp_path: Path) -> None:
    tensors = {f"{Q}.lora_{factor}.weight": torch.ones(2, 2) for factor in "AB"}
    config = (written(tmp_path, tensors) / CONFIG_FILE).stat().st_size
    header = int.from_bytes((tmp_path / WEIGHTS_FILE).read_bytes()[:8], "little")
    exact = {"max_config_bytes": config, "max_header_bytes": header}
    assert list(read_factors(tmp_path, Limits(**exact))) == [Q]
    for field, bound in exact.items():
        with pytest.raises(TooLarge):
            read_factors(tmp_path, Limits(**{field: bound - 1}))


def test_a_folder_without_an_adapter_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=CONFIG_FILE):
        read_factors(tmp_path)
    written(tmp_path, {"x": torch.ones(1)})
    with pytest.raises(AdapterError, match="'x' is not a LoRA factor"):
        read_factors(tmp_path)
