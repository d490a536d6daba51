"""A transformers model whose every token has a mixture of its own: the bank's arithmetic by hooks.

One forward pass over prompt and answer with gates by row is token scope with a KV cache, taught the
answer: a row leaves its keys and values behind under its own mixture, and later rows read them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from peft import PeftModel
from torch import nn
from torch.nn.functional import pad
from transformers import PreTrainedModel

from router.mixture import Mixture
from server.engine.bank.gates import bank_update, gates_of

RowGates = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Inner [n, K], outer [n, K] and crossed [n], as ``bank_update`` takes them."""


@dataclass(frozen=True, slots=True)
class Bank:
    """The K adapters at one linear layer: A [K, r, in], B [K, r, out] with the scaling in it."""

    a: torch.Tensor
    b: torch.Tensor


class GatedModel:
    """A base model with all adapters resident.

    Args:
        model: the base model; hooks are put on its linear layers.
        adapters: PEFT folders by name.

    Raises:
        ValueError: an adapter scales its modules unlike.
    """

    def __init__(self, model: PreTrainedModel, adapters: Mapping[str, Path]) -> None:
        self.model = model.eval()
        self.names = tuple(adapters)
        self._gates: RowGates | None = None
        factors = [_read(model, name, folder) for name, folder in adapters.items()]
        self._scalings = {name: s for name, (s, _) in zip(adapters, factors, strict=True)}
        for path in sorted({path for _, parts in factors for path in parts}):
            linear = model.get_submodule(path)
            bank = _stacked([parts.get(path) for _, parts in factors])
            linear.register_forward_hook(partial(self._add, bank))

    @torch.inference_mode()
    def hidden(self, ids: Sequence[int], rows: Sequence[Sequence[Mixture]]) -> torch.Tensor:
        """Final hidden states [v, t, d] of one text of t tokens under v sequences of t mixtures."""
        batch = torch.tensor([list(ids)] * len(rows), device=self.model.device)
        self._gates = self._row_gates([mixture for row in rows for mixture in row])
        try:
            body = getattr(self.model, self.model.base_model_prefix)
            states: torch.Tensor = body(input_ids=batch, use_cache=False).last_hidden_state
        finally:
            self._gates = None
        return states

    @torch.inference_mode()
    def logprobs(self, hidden: torch.Tensor) -> torch.Tensor:
        """Log-probabilities [n, vocab] of the next token after hidden states [n, d], fp32."""
        logits = self.model.get_output_embeddings()(hidden).float()
        return torch.log_softmax(logits, dim=-1)

    def _row_gates(self, mixtures: Sequence[Mixture]) -> RowGates:
        distinct = list(dict.fromkeys(mixtures))
        place = {mixture: number for number, mixture in enumerate(distinct)}
        inner = torch.zeros(len(distinct), len(self.names))
        outer = torch.zeros_like(inner)
        crossed = torch.zeros(len(distinct), dtype=torch.bool)
        for row, mixture in enumerate(distinct):
            columns = [self.names.index(member.name) for member in mixture.members]
            gates = gates_of(
                [member.weight for member in mixture.members],
                [self._scalings[member.name] for member in mixture.members],
                mixture.combination,
            )
            inner[row, columns] = torch.tensor(gates.inner)
            outer[row, columns] = torch.tensor(gates.outer)
            crossed[row] = gates.crossed
        picked = torch.tensor([place[mixture] for mixture in mixtures])
        device = self.model.device
        return inner[picked].to(device), outer[picked].to(device), crossed[picked].to(device)

    def _add(
        self, bank: Bank, module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor
    ) -> torch.Tensor:
        if self._gates is None:
            return output
        rows = inputs[0].reshape(-1, inputs[0].shape[-1])
        update = bank_update(rows, bank.a, bank.b, self._gates)
        return (output.float() + update.view_as(output)).to(output.dtype)


Pair = tuple[torch.Tensor, torch.Tensor]


def _read(model: PreTrainedModel, name: str, folder: Path) -> tuple[float, dict[str, Pair]]:
    """An adapter's scaling, and A [r, in] and scaled B [r, out] by module path, fp32."""
    adapted = PeftModel.from_pretrained(model, str(folder))
    pairs: dict[str, Pair] = {}
    scalings: set[float] = set()
    for path, module in adapted.get_base_model().named_modules():
        if hasattr(module, "lora_A"):
            scaling = float(module.scaling["default"])
            a = module.lora_A["default"].weight.detach().float().clone()
            b = module.lora_B["default"].weight.detach().float().T.contiguous() * scaling
            pairs[path] = (a, b)
            scalings.add(scaling)
    adapted.unload()
    if len(scalings) != 1:
        raise ValueError(f"adapter {name!r} scales its modules unlike, which is not measured here")
    return scalings.pop(), pairs


def _stacked(pairs: Sequence[Pair | None]) -> Bank:
    """The bank of one layer: lower ranks, and adapters that leave it out, filled up by zeros."""
    present = [pair for pair in pairs if pair is not None]
    rank = max(a.shape[0] for a, _ in present)
    size_in, size_out = present[0][0].shape[1], present[0][1].shape[1]
    device = present[0][0].device

    def filled(part: torch.Tensor | None, width: int) -> torch.Tensor:
        if part is None:
            return torch.zeros(rank, width, device=device)
        return pad(part, (0, 0, 0, rank - part.shape[0]))

    a = torch.stack([filled(pair[0] if pair else None, size_in) for pair in pairs])
    b = torch.stack([filled(pair[1] if pair else None, size_out) for pair in pairs])
    return Bank(a, b)
