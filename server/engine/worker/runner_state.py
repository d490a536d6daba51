"""Where our parts live on vLLM's model runner.

Each is made on first use, so that no moment of vLLM's start has to be hooked for it.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from server.engine.bank.punica import GatedPunica
from server.engine.worker.gate_log import LOG_ATTRIBUTE
from server.engine.worker.reweigher import Reweigher
from server.engine.worker.slot_table import SlotTable
from server.engine.worker.staging import Staging

Part = TypeVar("Part")


def bank_of(runner: Any) -> GatedPunica:
    """The gated wrapper that the runner's LoRA layers call.

    Raises:
        RuntimeError: the layers call another wrapper: the plugin is not live in this worker.
    """
    wrappers = runner.lora_manager._adapter_manager.punica_wrapper_mapping.values()
    for wrapper in wrappers:
        if isinstance(wrapper, GatedPunica):
            return wrapper
    names = ", ".join(type(wrapper).__name__ for wrapper in wrappers)
    raise RuntimeError(f"the LoRA layers call {names}, not the gated bank")


def lora_modules(runner: Any) -> dict[str, Any]:
    """The runner's LoRA layers by name."""
    modules: dict[str, Any] = runner.lora_manager._adapter_manager.modules
    return modules


def slot_table(runner: Any) -> SlotTable:
    """The runner's slot table."""
    return _made_once(runner, "loralloy_slots", SlotTable)


def staging(runner: Any) -> Staging:
    """The runner's staging."""
    return _made_once(runner, "loralloy_staging", lambda: Staging(runner.lora_manager))


def reweigher(runner: Any) -> Reweigher:
    """The runner's reweigher."""
    return _made_once(runner, "loralloy_reweigher", Reweigher)


def gate_logs(runner: Any) -> int:
    """How many of the runner's requests have a gate log."""
    return sum(hasattr(state, LOG_ATTRIBUTE) for state in runner.requests.values())


def _made_once(runner: Any, attribute: str, make: Callable[[], Part]) -> Part:
    """What the runner has under an attribute, which is ours alone."""
    if not hasattr(runner, attribute):
        setattr(runner, attribute, make())
    part: Part = getattr(runner, attribute)
    return part
