"""What a worker knows of the adapters in its slots, beyond vLLM's own tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from router.mixture import Combination
from server.engine.bank.gates import by_slot, gates_of
from server.engine.bank.step_gates import SlotGates
from server.engine.messages import AdapterWeights


class AdapterNotInSlot(RuntimeError):
    """A request reached the engine whose adapter is in no slot: the server's leases are broken."""


@dataclass
class SlotTable:
    """The adapters in the slots of one worker, and how many steps used them.

    Attributes:
        ranks: vLLM's id of an adapter → its rank.
        scalings: vLLM's id of an adapter → its ``lora_alpha / r``.
        steps: steps since the start.
        mixed_steps: those in which some token had an adapter.
        step_mixtures: unlike mixtures in each step, summed; the base model alone is none.
    """

    ranks: dict[int, int] = field(default_factory=dict)
    scalings: dict[int, float] = field(default_factory=dict)
    steps: int = 0
    mixed_steps: int = 0
    step_mixtures: int = 0

    def slot_gates(
        self, weights: AdapterWeights, combination: Combination, slot_of: Mapping[int, int]
    ) -> SlotGates | None:
        """Gates of a mixture; None for the base model.

        Args:
            weights: the members and their weights.
            combination: the rule by which they are combined.
            slot_of: vLLM's id of an adapter → its slot.

        Raises:
            AdapterNotInSlot: a member is not resident.
        """
        if not weights:
            return None
        ids = [adapter for adapter, _ in weights]
        missing = [member for member in ids if member not in slot_of or member not in self.ranks]
        if missing:
            raise AdapterNotInSlot(f"adapters {missing} are in no slot; resident: {list(slot_of)}")
        gates = gates_of(
            [weight for _, weight in weights], [self.scalings[i] for i in ids], combination
        )
        slots, gates = by_slot([slot_of[i] for i in ids], gates)
        return SlotGates(slots, gates.inner, gates.outer, gates.crossed)

    def count_step(self, unlike_mixtures: int) -> None:
        """Count a step, and how many unlike mixtures it had."""
        self.steps += 1
        self.mixed_steps += unlike_mixtures > 0
        self.step_mixtures += unlike_mixtures
