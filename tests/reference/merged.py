"""A base model whose weights are changed to any mixture of adapters: W + ΔW, dense.

PEFT reads the adapters (factors A_i, B_i, scaling s_i of every module); the mixture is written from
its definition, with nothing of the engine's arithmetic and without PEFT's own merging:

    cat            ΔW = Σ_i w_i s_i B_i A_i
    linear         ΔW = (Σ_j √(w_j s_j) B_j)(Σ_i √(w_i s_i) A_i)     (PEFT ≥ 0.9)
    linear_peft04  ΔW = (Σ_j B_j)(Σ_i w_i s_i A_i)                   (PEFT 0.4 to 0.6)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, DynamicCache

Weights = Mapping[str, float]


@dataclass(frozen=True)
class Factors:
    """One adapter at one linear layer: A [r, in], B [out, r], and the scaling."""

    a: torch.Tensor
    b: torch.Tensor
    scaling: float


@dataclass(frozen=True)
class Linear:
    """One linear layer: its weight as the model uses it, as it was, and the adapters' factors."""

    weight: torch.Tensor
    original: torch.Tensor
    factors: dict[str, Factors]


class MergedModel:
    """One model, one mixture at a time."""

    def __init__(self, base: Path, adapters: Mapping[str, Path], combination: str = "cat") -> None:
        self.combination = combination
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        linears: dict[str, Linear] = {}
        for name, folder in adapters.items():
            # PEFT takes no dots in an adapter's name, so each is the default one for a moment.
            adapted = PeftModel.from_pretrained(model, folder)
            for path, module in adapted.get_base_model().named_modules():
                if not hasattr(module, "lora_A"):
                    continue
                weight = module.get_base_layer().weight.data
                linear = linears.setdefault(path, Linear(weight, weight.clone(), {}))
                linear.factors[name] = Factors(
                    module.lora_A["default"].weight.data.clone(),
                    module.lora_B["default"].weight.data.clone(),
                    float(module.scaling["default"]),
                )
            model = adapted.unload()
        self.model = model.eval()
        self._linears = list(linears.values())
        self._current: dict[str, float] = {}

    def become(self, weights: Weights) -> None:
        """Change every weight matrix to W + ΔW of these weights; none: the base model."""
        if dict(weights) == self._current:
            return
        for linear in self._linears:
            members = [
                (weight, linear.factors[name])
                for name, weight in weights.items()
                if name in linear.factors
            ]
            linear.weight.copy_(linear.original + update_of(members, self.combination))
        self._current = dict(weights)

    @torch.no_grad()
    def next_logprobs(self, tokens: list[int], cache: DynamicCache | None = None) -> torch.Tensor:
        """Log-probabilities [vocab] of the token after the last, fp64; ``cache`` grows by them."""
        use = cache is not None
        ids = torch.tensor([tokens])
        logits = self.model(input_ids=ids, past_key_values=cache, use_cache=use).logits[0, -1]
        return torch.log_softmax(logits.double(), dim=-1)


def update_of(members: list[tuple[float, Factors]], combination: str) -> torch.Tensor:
    """ΔW [out, in] of members of weight w_i; 0 without any."""
    if not members:
        return torch.zeros(())
    if combination == "cat":
        return torch.stack([w * f.scaling * (f.b @ f.a) for w, f in members]).sum(0)
    if combination == "linear":
        roots = [(math.sqrt(w * f.scaling), f) for w, f in members]
        return _sum([root * f.b for root, f in roots]) @ _sum([root * f.a for root, f in roots])
    if combination == "linear_peft04":
        return _sum([f.b for _, f in members]) @ _sum([w * f.scaling * f.a for w, f in members])
    raise ValueError(f"unknown combination {combination!r}")


def _sum(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(tensors).sum(0)
