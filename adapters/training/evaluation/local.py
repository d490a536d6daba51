"""Models in this process: the base model, and the base with each adapter in turn."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from peft import PeftModel
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adapters.files import WEIGHTS_FILE
from adapters.training.data.examples import Encoded, digest_of, encode
from adapters.training.data.templates import Example
from adapters.training.errors import TrainingError
from adapters.training.evaluation.heldout_loss import response_losses
from adapters.training.evaluation.models import BASE, Pair, Sums
from adapters.training.evaluation.questions import Question
from adapters.training.run.base_model import load_base, public_name

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

    def answer_losses(self, pairs: Sequence[Pair]) -> tuple[Sums, Sums]:
        """Summed loss of each answer with its end of text, and its tokens [n] each."""
        items = [_encoded(self._tokenizer, *pair) for pair in pairs]
        tokens = [len(item.input_ids) - item.prompt_tokens for item in items]
        return response_losses(self._model, items), np.array(tokens, dtype=float)

    @torch.inference_mode()
    def generate(self, prompts: Sequence[str], max_tokens: int) -> list[str]:
        """Greedy answers, in batches of prompts of like length."""
        answers = [""] * len(prompts)
        ids = [self._ids(prompt) for prompt in prompts]
        order = sorted(range(len(prompts)), key=lambda index: len(ids[index]))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            width = max(len(ids[index]) for index in chosen)
            pad = int(self._tokenizer.pad_token_id or 0)
            rows = [[pad] * (width - len(ids[index])) + ids[index] for index in chosen]
            attended = [[0] * (width - len(ids[index])) + [1] * len(ids[index]) for index in chosen]
            made = self._model.generate(
                input_ids=torch.tensor(rows, device=self._model.device),
                attention_mask=torch.tensor(attended, device=self._model.device),
                max_new_tokens=max_tokens,
                do_sample=False,
                pad_token_id=pad,
            )
            for index, row in zip(chosen, made[:, width:], strict=True):
                answers[index] = str(self._tokenizer.decode(row, skip_special_tokens=True))
        return answers

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])


class LocalModels:
    """The base model and adapters on it: one set of base weights for all.

    Args:
        base: folder or hub name.
        adapters: their folders.
        dtype: that the base model is loaded in.

    Raises:
        TrainingError: there is no such base model, or a folder holds no adapter.
    """

    def __init__(self, base: str, adapters: Sequence[Path], dtype: str) -> None:
        self.weights: Mapping[str, str] = {
            folder.resolve().name: _digest(folder) for folder in adapters
        }
        self._base, self._tokenizer = load_base(base, dtype)
        self.where = public_name(base)
        self.count = 1 + len(adapters)
        self.dtype: str | None = dtype
        self._adapters = adapters

    def fits(self, question: Question, tokens: int) -> bool:
        """Whether prompt, answer and end of text fit into so many tokens."""
        item = _encoded(self._tokenizer, question.prompt, question.completion)
        return len(item.input_ids) <= tokens

    def __iter__(self) -> Iterator[LocalModel]:
        """The base model, then each adapter on it.

        Raises:
            TrainingError: an adapter is of another model.
        """
        yield LocalModel(BASE, self._base, self._tokenizer)
        for folder in self._adapters:
            try:
                adapted = PeftModel.from_pretrained(self._base, str(folder))
            except (OSError, ValueError, RuntimeError) as error:
                reason = str(error).strip().splitlines()[0]
                raise TrainingError(f"{folder} cannot be put on this model: {reason}") from None
            yield LocalModel(folder.resolve().name, adapted.get_base_model(), self._tokenizer)
            self._base = adapted.unload()


def _encoded(tokenizer: PreTrainedTokenizerBase, prompt: str, completion: str) -> Encoded:
    return encode(Example(prompt, completion), tokenizer)


def _digest(folder: Path) -> str:
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise TrainingError(f"{folder} cannot be put on this model: it holds no {WEIGHTS_FILE}")
    return digest_of([path])[path.name]
