"""Where our parts live on vLLM's model runner.

Each is made on first use, so that no moment of vLLM's start has to be hooked for it.
"""

from typing import Any

from server.engine.bank.punica import GatedPunica
from server.engine.worker.gate_log import LOG_ATTRIBUTE
from server.engine.worker.reweigher import Reweigher
from server.engine.worker.slot_table import SlotTable
from server.engine.worker.staging import Staging


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


def slot_table(runner: Any) -> SlotTable:
    """The runner's slot table."""
    found = getattr(runner, "loralloy_slots", None)
    if not isinstance(found, SlotTable):
        found = SlotTable()
        runner.loralloy_slots = found
    return found


def staging(runner: Any) -> Staging:
    """The runner's staging."""
    found = getattr(runner, "loralloy_staging", None)
    if not isinstance(found, Staging):
        found = Staging(runner.lora_manager)
        runner.loralloy_staging = found
    return found


def reweigher(runner: Any) -> Reweigher:
    """The runner's reweigher."""
    found = getattr(runner, "loralloy_reweigher", None)
    if not isinstance(found, Reweigher):
        found = Reweigher()
        runner.loralloy_reweigher = found
    return found


def gate_logs(runner: Any) -> int:
    """How many of the runner's requests have a gate log."""
    return sum(hasattr(state, LOG_ATTRIBUTE) for state in runner.requests.values())
