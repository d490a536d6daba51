"""The engine reads the same ranks and scalings out of a stored adapter as PEFT does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.registry.registry import AdapterRegistry

peft_helper = pytest.importorskip("vllm.lora.peft_helper")


@pytest.mark.parametrize("use_rslora", [False, True])
def test_vllm_agrees_with_peft(
    use_rslora: bool,
    peft_adapter: Callable[..., tuple[Path, dict[str, float]]],
    registry: AdapterRegistry,
) -> None:
    folder, expected = peft_adapter(
        target_modules="all-linear",
        use_rslora=use_rslora,
        rank_pattern={r"layers\.1\..*": 16, "q_proj": 4},
        alpha_pattern={"mlp.(up|down)_proj": 7},
    )
    stored, _ = registry.add("stored", folder)
    helper = peft_helper.PEFTHelper.from_local_dir(str(stored.path), None)
    found = {module: helper.get_rank_and_scaling(module)[1] for module in expected}
    assert found == expected
