"""Where our parts live on vLLM's model runner."""

from typing import Any

from server.engine.bank.punica import GatedPunica
from server.engine.worker.reweigher import Reweigher
from server.engine.worker.staging import Staging
from server.engine.worker.step_hook import SlotTable


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
    """The runner's slot table, made on first use."""
    table = getattr(runner, "loralloy_slots", None)
    if not isinstance(table, SlotTable):
        table = SlotTable()
        runner.loralloy_slots = table
    return table


def staging(runner: Any) -> Staging:
    """The runner's staging, made on first use."""
    found = getattr(runner, "loralloy_staging", None)
    if not isinstance(found, Staging):
        found = Staging(runner.lora_manager)
        runner.loralloy_staging = found
    return found


def reweigher(runner: Any) -> Reweigher:
    """The runner's reweigher, made on first use."""
    found = getattr(runner, "loralloy_reweigher", None)
    if not isinstance(found, Reweigher):
        found = Reweigher()
        runner.loralloy_reweigher = found
    return found
