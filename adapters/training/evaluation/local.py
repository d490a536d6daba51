"""A model in this process: the base model, or the base with an adapter."""

from collections.abc import Sequence
from typing import Final

import torch
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adapters.training.evaluation.models import Pair

BATCH: Final = 8


class LocalModel:
    """A model and its tokenizer."""

    def __init__(
        self, name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self.name = name
        self._model = model.eval()
        self._tokenizer = tokenizer

    @torch.inference_mode()
    def log_probs(self, pairs: Sequence[Pair]) -> list[list[float]]:
        """Log-probabilities of each token of what follows."""
        found = []
        for prompt, after in pairs:
            before, rest = (self._ids(text) for text in (prompt, after))
            ids = torch.tensor([[*before, *rest]], device=self._model.device)
            logits = self._model(ids, use_cache=False).logits[0, len(before) - 1 : -1].float()
            taken = functional.log_softmax(logits, dim=-1)[range(len(rest)), rest]
            found.append(taken.tolist())
        return found

    @torch.inference_mode()
    def generate(self, prompts: Sequence[str], max_tokens: int) -> list[str]:
        """Greedy answers, in batches of prompts of like length."""
        answers = [""] * len(prompts)
        ids = [self._ids(prompt) for prompt in prompts]
        order = sorted(range(len(prompts)), key=lambda place: len(ids[place]))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            width = max(len(ids[place]) for place in chosen)
            pad = int(self._tokenizer.pad_token_id or 0)
            rows = [[pad] * (width - len(ids[place])) + ids[place] for place in chosen]
            attended = [[0] * (width - len(ids[place])) + [1] * len(ids[place]) for place in chosen]
            made = self._model.generate(
                input_ids=torch.tensor(rows, device=self._model.device),
                attention_mask=torch.tensor(attended, device=self._model.device),
                max_new_tokens=max_tokens,
                do_sample=False,
                pad_token_id=pad,
            )
            for place, row in zip(chosen, made[:, width:], strict=True):
                answers[place] = str(self._tokenizer.decode(row, skip_special_tokens=True))
        return answers

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
