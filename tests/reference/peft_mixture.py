"""Mixtures as transformers and PEFT compute them: one forward pass over the whole text.

Nothing of the engine's arithmetic is used here. ``cat`` and ``linear`` are PEFT's own
``add_weighted_adapter``; ``linear_peft04`` (PEFT up to 0.6, which today's PEFT no longer has) is
built from its definition: A = Σ w_i s_i A_i, B = Σ B_i.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel


class Reference:
    """Log-probabilities of the base model under any mixture of adapters.

    Args:
        base: the base model's folder.
        adapters: name → folder.
        dtype: what all of it is computed in.
    """

    def __init__(
        self, base: Path, adapters: Mapping[str, Path], dtype: torch.dtype = torch.float32
    ) -> None:
        self._base = base
        self._adapters = adapters
        self._dtype = dtype

    def logprobs(
        self, tokens: list[int], weights: Mapping[str, float], combination: str = "cat"
    ) -> torch.Tensor:
        """Log-probabilities [len(tokens), vocab] of the token after each position."""
        model = AutoModelForCausalLM.from_pretrained(self._base, dtype=torch.float32)
        if weights:
            model = self._mix(model, weights, combination)
        model.to(self._dtype).eval()
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0]
        return torch.log_softmax(logits.double(), dim=-1)

    def _mix(
        self, base: PreTrainedModel, weights: Mapping[str, float], combination: str
    ) -> PeftModel:
        names = list(weights)
        # PEFT takes no dots or dashes in adapter names.
        short = {name: f"a{number}" for number, name in enumerate(names)}
        model = PeftModel.from_pretrained(base, self._adapters[names[0]], adapter_name="a0")
        if len(names) == 1 and weights[names[0]] == 1.0:
            return model
        for name in names[1:]:
            model.load_adapter(self._adapters[name], adapter_name=short[name])
        rule = "linear" if combination == "linear_peft04" else combination
        model.add_weighted_adapter(
            [short[name] for name in names],
            [weights[name] for name in names],
            "mixed",
            combination_type=rule,
        )
        for module in model.modules():
            if hasattr(module, "lora_A") and "mixed" in module.lora_A:
                # PEFT takes the first member's config, where rsLoRA would scale the sum once more.
                module.scaling["mixed"] = 1.0
        if combination == "linear_peft04":
            _overwrite_peft04(model, {short[name]: weights[name] for name in names})
        model.set_adapter("mixed")
        return model


def _overwrite_peft04(model: PeftModel, weights: Mapping[str, float]) -> None:
    for module in model.modules():
        if not hasattr(module, "lora_A") or "mixed" not in module.lora_A:
            continue
        a = sum(
            w * module.scaling[name] * module.lora_A[name].weight.data
            for name, w in weights.items()
            if name in module.lora_A
        )
        b = sum(module.lora_B[name].weight.data for name in weights if name in module.lora_B)
        module.lora_A["mixed"].weight.data = a
        module.lora_B["mixed"].weight.data = b
        module.scaling["mixed"] = 1.0
