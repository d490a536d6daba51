"""The per-step hook: before each forward pass, the batch's mixtures become the step's gates.

It wraps ``LoRAModelRunnerMixin.set_active_loras``, which vLLM's V1 runner calls once a step after
the batch is laid out. (``PunicaWrapper.update_metadata`` would not do: vLLM skips it while the
mapping of adapters stays the same.)
"""

from dataclasses import dataclass, field
from typing import Any, Final

from server.engine.gates import gates_of
from server.engine.step import SlotGates, StepGates

EXTRA_KEY: Final = "loralloy"
"""Key of ``SamplingParams.extra_args`` that carries a request's mixture. Reserved: set by the
server alone."""


class AdapterNotInSlot(RuntimeError):
    """A request reached the engine whose adapter is in no slot: the server's leases are broken."""


@dataclass
class SlotTable:
    """What a worker knows of the adapters in its slots, beyond vLLM's own tables.

    ``ranks`` and ``scalings`` are keyed by vLLM's integer id of the adapter.
    """

    ranks: dict[int, int] = field(default_factory=dict)
    scalings: dict[int, float] = field(default_factory=dict)
    steps: int = 0
    mixed_steps: int = 0

    def slot_gates(self, mixture: dict[str, Any], slot_of: dict[int, int]) -> SlotGates:
        """Gates of one request's mixture (the wire form that ``EngineClient`` attaches).

        Raises:
            AdapterNotInSlot: a member is not resident.
        """
        ids = [int(member) for member in mixture["ids"]]
        missing = [member for member in ids if member not in slot_of or member not in self.ranks]
        if missing:
            raise AdapterNotInSlot(f"adapters {missing} are in no slot; resident: {list(slot_of)}")
        gates = gates_of(
            mixture["weights"], [self.scalings[i] for i in ids], mixture["combination"]
        )
        return SlotGates(tuple(slot_of[i] for i in ids), gates.inner, gates.outer, gates.crossed)


def fill_step(runner: Any, table: SlotTable, gates: StepGates, lengths: list[int]) -> None:
    """Fill ``gates`` for the batch that ``runner`` is about to run.

    Args:
        runner: vLLM's V1 model runner.
        table: the worker's slot table.
        gates: the buffers that the bank reads.
        lengths: tokens of each request in this step, in batch order.
    """
    slots = runner.lora_manager._adapter_manager.lora_index_to_id
    slot_of = {int(adapter): slot for slot, adapter in enumerate(slots) if adapter is not None}
    requests: list[SlotGates | None] = []
    ranks: dict[int, int] = {}
    for request_id in runner.input_batch.req_ids[: len(lengths)]:
        params = runner.requests[request_id].sampling_params
        mixture = ((params and params.extra_args) or {}).get(EXTRA_KEY)
        if not mixture:
            requests.append(None)
            continue
        requests.append(table.slot_gates(mixture, slot_of))
        for adapter in mixture["ids"]:
            ranks[slot_of[int(adapter)]] = table.ranks[int(adapter)]
    table.steps += 1
    table.mixed_steps += bool(ranks)
    gates.fill(requests, lengths, ranks)
