"""LoRA-TLE as its repository decodes: transformers and PEFT, a new merged adapter for each token.

For each new token: embed the text so far, weigh the adapters by the largest cosine times 4 and a
softmax, make one adapter of all by ``add_weighted_adapter``, run the whole prefix without a cache,
take the likeliest token, delete the merged adapter. Two defects of the source are not measured: its
budget of 256 counted the prompt too, and an end of text did not end it. Here exactly so many new
tokens are made, whatever they are, so that every run does the same work.

Source: Belofsky, "Token-Level Adaptation of LoRA Adapters", arXiv 2311.10847.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from benchmarks.tle.by_hand import Centroids, MiniLM, scores_of, tle_weights

MERGED = "merged"
Made = TypeVar("Made")


@dataclass
class Seconds:
    """Where the time went, in seconds: embedding and weighing, merging, running the prefix."""

    embed: float = 0.0
    merge: float = 0.0
    prefix: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.embed + self.merge + self.prefix

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(
            self.embed + other.embed, self.merge + other.merge, self.prefix + other.prefix
        )


@dataclass(frozen=True)
class Answer:
    """New tokens [n], the weights [n][K] that each was picked under, and the time it took."""

    tokens: list[int]
    weights: list[list[float]]
    seconds: Seconds = field(default_factory=Seconds)


class ReferenceLoop:
    """The loop over one base model and all its adapters.

    Args:
        model: the base model.
        tokenizer: its tokenizer.
        adapters: PEFT folders by name; all of one rank.
        encoder: what embeds the text so far; of a long text it reads the beginning.
        centroids: the adapters' centroids.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        adapters: Mapping[str, Path],
        encoder: MiniLM,
        centroids: Centroids,
    ) -> None:
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._centroids = centroids
        # PEFT takes no dots in an adapter's name.
        self._names = [f"a{number}" for number in range(len(adapters))]
        folders = [str(adapters[name]) for name in centroids]
        self._model = PeftModel.from_pretrained(model, folders[0], adapter_name=self._names[0])
        for name, folder in zip(self._names[1:], folders[1:], strict=True):
            self._model.load_adapter(folder, adapter_name=name)
        self._model.eval()

    def answer(self, prompt: str, new_tokens: int, begun: Sequence[int] = ()) -> Answer:
        """Exactly ``new_tokens`` tokens after a prompt and the answer's tokens that there are."""
        ids = list(self._tokenizer(prompt)["input_ids"])
        start = len(ids)
        ids += begun
        answer = Answer([], [])
        for _ in range(new_tokens):
            text = prompt + self._tokenizer.decode(ids[start:], skip_special_tokens=True)
            weights, embed = _timed(partial(self._weigh, text))
            _, merge = _timed(partial(self._merge, weights))
            token, prefix = _timed(partial(self._next, ids))
            _, delete = _timed(self._unmerge)
            ids.append(token)
            answer.tokens.append(token)
            answer.weights.append(weights)
            answer.seconds.embed += embed
            answer.seconds.merge += merge + delete
            answer.seconds.prefix += prefix
        return answer

    def _weigh(self, text: str) -> list[float]:
        return tle_weights(scores_of(self._encoder.embed(text), self._centroids))

    def _merge(self, weights: list[float]) -> None:
        self._model.add_weighted_adapter(self._names, weights, MERGED, combination_type="linear")
        self._model.set_adapter(MERGED)

    def _unmerge(self) -> None:
        self._model.set_adapter(self._names[0])
        self._model.delete_adapter(MERGED)

    @torch.inference_mode()
    def _next(self, ids: list[int]) -> int:
        logits = self._model(
            input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=1
        ).logits
        return int(logits[0, -1].argmax())


def _timed(work: Callable[[], Made]) -> tuple[Made, float]:
    begin = time.perf_counter()
    made = work()
    return made, time.perf_counter() - begin
