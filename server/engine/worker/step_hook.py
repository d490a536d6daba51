"""The per-step hook: before each forward pass, the batch's mixtures become the step's gates.

It wraps ``LoRAModelRunnerMixin.set_active_loras``, which vLLM's V1 runner calls once a step after
the batch is laid out. (``PunicaWrapper.update_metadata`` would not do: vLLM skips it while the
mapping of adapters stays the same.)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from router.mixture import Combination
from server.engine.bank.gates import by_slot, gates_of
from server.engine.bank.step_gates import SlotGates, StepGates
from server.engine.messages import EXTRA_KEY, Follow, Weighed
from server.engine.worker.gate_log import GateLog
from server.engine.worker.reweigher import Due, Reweigher

LOG_ATTRIBUTE: Final = "loralloy_log"
"""Attribute of vLLM's record of a request that holds its gate log: it outlives preemption, and goes
when the request does."""


class AdapterNotInSlot(RuntimeError):
    """A request reached the engine whose adapter is in no slot: the server's leases are broken."""


@dataclass
class SlotTable:
    """What a worker knows of the adapters in its slots, beyond vLLM's own tables.

    ``ranks`` and ``scalings`` are keyed by vLLM's integer id of the adapter. ``mixtures`` is the
    sum over steps of the unlike mixtures in each.
    """

    ranks: dict[int, int] = field(default_factory=dict)
    scalings: dict[int, float] = field(default_factory=dict)
    steps: int = 0
    mixed_steps: int = 0
    mixtures: int = 0

    def slot_gates(
        self, weighed: Weighed, combination: Combination, slot_of: Mapping[int, int]
    ) -> SlotGates | None:
        """Gates of a mixture; None for the base model.

        Raises:
            AdapterNotInSlot: a member is not resident.
        """
        if not weighed:
            return None
        ids = [adapter for adapter, _ in weighed]
        missing = [member for member in ids if member not in slot_of or member not in self.ranks]
        if missing:
            raise AdapterNotInSlot(f"adapters {missing} are in no slot; resident: {list(slot_of)}")
        gates = gates_of(
            [weight for _, weight in weighed], [self.scalings[i] for i in ids], combination
        )
        slots, gates = by_slot([slot_of[i] for i in ids], gates)
        return SlotGates(slots, gates.inner, gates.outer, gates.crossed)


@dataclass(frozen=True, slots=True)
class Row:
    """A request's part of a step: what it was told, where it is, and how many tokens it runs."""

    mixture: dict[str, Any]
    state: Any
    count: int

    @property
    def log(self) -> GateLog | None:
        """The gate log of a request whose weights follow its answer; made on first use."""
        if "follow" not in self.mixture:
            return None
        log = getattr(self.state, LOG_ATTRIBUTE, None)
        if not isinstance(log, GateLog):
            log = GateLog(Follow.from_wire(self.mixture["follow"]), [self.first])
            setattr(self.state, LOG_ATTRIBUTE, log)
        return log

    @property
    def first(self) -> Weighed:
        """The weights at the prompt."""
        return tuple(zip(self.mixture["ids"], self.mixture["weights"], strict=True))

    def spans(self, log: GateLog) -> list[tuple[int, int]]:
        """(weighing, tokens) of this step, in order."""
        state = self.state
        return list(
            log.spans(
                state.num_computed_tokens,
                self.count,
                state.num_prompt_tokens,
                len(state.output_token_ids),
            )
        )


def fill_step(
    runner: Any, table: SlotTable, reweigher: Reweigher, gates: StepGates, lengths: list[int]
) -> None:
    """Fill ``gates`` for the batch that ``runner`` is about to run.

    Args:
        runner: vLLM's V1 model runner.
        table: the worker's slot table.
        reweigher: what weighs again the requests whose weights follow their answer.
        gates: the buffers that the bank reads.
        lengths: tokens of each request in this step, in batch order.
    """
    slots = runner.lora_manager._adapter_manager.lora_index_to_id
    slot_of = {int(adapter): slot for slot, adapter in enumerate(slots) if adapter is not None}
    rows = [
        Row(_mixture(runner.requests[name]), runner.requests[name], count)
        for name, count in zip(runner.input_batch.req_ids, lengths, strict=False)
    ]
    reweigher.fill(_due(rows))
    unlike: set[tuple[Weighed, str]] = set()
    requests: list[SlotGates | None] = []
    counts: list[int] = []
    ranks: dict[int, int] = {}
    for row in rows:
        combination = row.mixture.get("combination", "cat")
        for weighed, count in _weighed(row):
            requests.append(table.slot_gates(weighed, combination, slot_of))
            counts.append(count)
            if weighed:
                unlike.add((weighed, combination))
            ranks.update({slot_of[adapter]: table.ranks[adapter] for adapter, _ in weighed})
    table.steps += 1
    table.mixed_steps += bool(ranks)
    table.mixtures += len(unlike)
    gates.fill(requests, counts, ranks)


def _mixture(state: Any) -> dict[str, Any]:
    params = state.sampling_params
    return ((params and params.extra_args) or {}).get(EXTRA_KEY) or {}


def _due(rows: Iterable[Row]) -> list[Due]:
    """The requests that need weighings which their logs do not hold."""
    due = []
    for row in rows:
        log = row.log
        if log is None:
            continue
        last = max(number for number, _ in row.spans(log))
        if last >= len(log.weighings):
            due.append(Due(row.state.req_id, log, last, row.state.output_token_ids))
    return due


def _weighed(row: Row) -> list[tuple[Weighed, int]]:
    """The mixtures of a request's tokens in this step, with how many tokens each is for."""
    log = row.log
    if log is None:
        return [(row.first if row.mixture else (), row.count)]
    return [(log.weighings[number], count) for number, count in row.spans(log)]


HOOK_MARK: Final = "loralloy"
"""Attribute that tells the hooked method from vLLM's own."""
