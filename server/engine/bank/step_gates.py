"""The gates of one engine step: filled before the forward pass, read by every module in it.

The buffers keep their addresses for the life of the engine, so that compiled and captured graphs
may hold them. Layout (S = slots, T = tokens of a step, both at their maxima):

    header   int32 [2]        tokens of this step, slots in use
    slots    int32 [S+1, 3]   slot, rank, index of its first pair; the row after the last closes it
    tokens   int32 [S·T]      the pairs' tokens, slot by slot, ascending
    inner    fp32  [T, S]     see server.engine.bank.gates
    outer    fp32  [T, S]
    crossed  uint8 [T]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class SlotGates:
    """One request's gates; :mod:`server.engine.bank.gates` says what they are.

    Attributes:
        slots: the slots that take part.
        inner: the inner gate of each.
        outer: the outer gate of each.
        crossed: whether every pair of slots is multiplied, not each with itself alone.
    """

    slots: tuple[int, ...]
    inner: tuple[float, ...]
    outer: tuple[float, ...]
    crossed: bool


class StepGates:
    """The persistent buffers and how a step fills them.

    Attributes:
        max_tokens: most tokens of a step.
        max_slots: slots of the engine.
    """

    def __init__(self, max_tokens: int, max_slots: int, device: torch.device | str) -> None:
        self.max_tokens = max_tokens
        self.max_slots = max_slots
        shapes = {
            "header": ((2,), torch.int32),
            "slots": ((max_slots + 1, 3), torch.int32),
            "tokens": ((max_slots * max_tokens,), torch.int32),
            "inner": ((max_tokens, max_slots), torch.float32),
            "outer": ((max_tokens, max_slots), torch.float32),
            "crossed": ((max_tokens,), torch.uint8),
        }
        self._host = {
            name: torch.zeros(shape, dtype=dtype) for name, (shape, dtype) in shapes.items()
        }
        # On the CPU these are the host's own tensors.
        self._device = {name: tensor.to(device) for name, tensor in self._host.items()}
        self._views = {name: tensor.numpy() for name, tensor in self._host.items()}
        self._dirty = 0
        self._last: tuple[Sequence[SlotGates | None], Sequence[int], Mapping[int, int]] | None = (
            None
        )

    @property
    def tensors(self) -> list[torch.Tensor]:
        """The buffers, in the order in which the operator takes them."""
        return [
            self._device[name]
            for name in ("header", "slots", "tokens", "inner", "outer", "crossed")
        ]

    def clear(self) -> None:
        """No gates at all: every token runs on the base model."""
        self.fill([], [], {})

    def fill(
        self,
        requests: Sequence[SlotGates | None],
        lengths: Sequence[int],
        ranks: Mapping[int, int],
    ) -> None:
        """Set the gates of a step whose batch is ``requests`` in order.

        Args:
            requests: gates of each request, None for the base model.
            lengths: tokens of each request in this step.
            ranks: slot → rank of the adapter in it, for the slots in use.

        Raises:
            ValueError: more tokens than the buffers hold, a slot that the engine does not have, or
                gates, lengths or ranks that do not go with the slots; the buffers are as before.
        """
        now = (list(requests), list(lengths), dict(ranks))
        if now == self._last:
            return  # decoding the same requests: nothing moved
        count = sum(lengths)
        if count > self.max_tokens:
            raise ValueError(f"{count} tokens in a step; the gate buffers hold {self.max_tokens}")
        if len(requests) != len(lengths) or min(lengths, default=0) < 0:
            raise ValueError(f"{len(requests)} requests in a step, of lengths {list(lengths)}")
        for gates in filter(None, requests):
            self._check(gates, ranks)
        for name in ("inner", "outer", "crossed"):
            self._views[name][: self._dirty] = 0
        self._list_pairs(self._spread(requests, lengths), ranks, count)
        self._dirty = count
        self._last = now
        for name, tensor in self._host.items():
            if self._device[name] is not tensor:
                self._device[name].copy_(tensor)

    def _check(self, gates: SlotGates, ranks: Mapping[int, int]) -> None:
        slots = gates.slots
        if len(set(slots)) < len(slots) or not all(0 <= slot < self.max_slots for slot in slots):
            raise ValueError(f"gates for the slots {slots}, of {self.max_slots}, each of them once")
        if not len(slots) == len(gates.inner) == len(gates.outer):
            raise ValueError(
                f"{len(gates.inner)} inner and {len(gates.outer)} outer gates for {len(slots)} "
                "slots"
            )
        if missing := [slot for slot in slots if ranks.get(slot, 0) < 1]:
            raise ValueError(f"the slots {missing} are used, and have no rank")

    def _spread(
        self, requests: Sequence[SlotGates | None], lengths: Sequence[int]
    ) -> dict[int, list[np.ndarray]]:
        """Write every request's gates to its tokens' rows; returns the rows by slot."""
        views = self._views
        pairs: dict[int, list[np.ndarray]] = {}
        end = 0
        for gates, length in zip(requests, lengths, strict=True):
            begin, end = end, end + length
            if gates is None or not length:
                continue
            columns = list(gates.slots)
            views["inner"][begin:end, columns] = gates.inner
            views["outer"][begin:end, columns] = gates.outer
            views["crossed"][begin:end] = gates.crossed
            rows = np.arange(begin, end)
            for slot in gates.slots:
                pairs.setdefault(slot, []).append(rows)
        return pairs

    def _list_pairs(
        self, pairs: Mapping[int, list[np.ndarray]], ranks: Mapping[int, int], count: int
    ) -> None:
        views = self._views
        first = 0
        for row, slot in enumerate(sorted(pairs)):
            rows = np.concatenate(pairs[slot])
            views["tokens"][first : first + len(rows)] = rows
            views["slots"][row] = (slot, ranks[slot], first)
            first += len(rows)
        views["slots"][len(pairs)] = (0, 0, first)
        views["header"][:] = (count, len(pairs))
