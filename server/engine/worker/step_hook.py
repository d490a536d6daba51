"""The per-step hook: before each forward pass, the batch's mixtures become the step's gates.

It wraps ``LoRAModelRunnerMixin.set_active_loras``, which vLLM's V1 runner calls once a step after
the batch is laid out. (``PunicaWrapper.update_metadata`` would not do: vLLM skips it while the
mapping of adapters stays the same.)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from router.mixture import Combination
from server.engine.bank.step_gates import SlotGates, StepGates
from server.engine.messages import AdapterWeights, RequestMixture
from server.engine.worker.gate_log import GateLog
from server.engine.worker.reweigher import Due, Reweigher
from server.engine.worker.slot_table import SlotTable

HOOK_MARK: Final = "loralloy"
"""Attribute that tells the hooked method from vLLM's own."""


@dataclass(frozen=True, slots=True)
class Row:
    """A request's part of a step.

    Attributes:
        mixture: what the server sent with the request; None for the base model.
        state: vLLM's record of the request: how far it has come.
        count: tokens that it runs in this step.
    """

    mixture: RequestMixture | None
    state: Any
    count: int

    @classmethod
    def of(cls, state: Any, count: int) -> "Row":
        """The part of a request that runs ``count`` tokens."""
        return cls(RequestMixture.carried_by(state), state, count)

    @property
    def log(self) -> GateLog | None:
        """The gate log of a request whose weights follow its answer; made on first use."""
        if self.mixture is None or self.mixture.reweigh is None:
            return None
        return GateLog.kept_on(self.state, self.mixture.reweigh, self.mixture.weights)

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
        Row.of(runner.requests[name], count)
        for name, count in zip(runner.input_batch.req_ids, lengths, strict=False)
    ]
    reweigher.fill(_due(rows))
    unlike: set[tuple[AdapterWeights, Combination]] = set()
    requests: list[SlotGates | None] = []
    counts: list[int] = []
    ranks: dict[int, int] = {}
    for row in rows:
        combination: Combination = "cat" if row.mixture is None else row.mixture.combination
        for weights, count in _weights(row):
            requests.append(table.slot_gates(weights, combination, slot_of))
            counts.append(count)
            if weights:
                unlike.add((weights, combination))
            ranks.update({slot_of[adapter]: table.ranks[adapter] for adapter, _ in weights})
    table.count_step(len(unlike))
    gates.fill(requests, counts, ranks)


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


def _weights(row: Row) -> list[tuple[AdapterWeights, int]]:
    """The mixtures of a request's tokens in this step, with how many tokens each is for."""
    log = row.log
    if log is None:
        return [(() if row.mixture is None else row.mixture.weights, row.count)]
    return [(log.weighings[number], count) for number, count in row.spans(log)]
