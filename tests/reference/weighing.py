"""The weights of a text so far, written out: nothing here is the router's or the server's.

What an engine's weighing is held to: the window, the embedding (``benchmarks/tle/by_hand.py``), the
cosines, the policy's rule and its options. Windows that do not take all of the text in are written
out for ``head`` and ``tail`` alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerBase

from benchmarks.tle.by_hand import Centroids, MiniLM, Vector, scores_of, softmax, tle_weights
from tests.reference.merged import Weights

Part = Literal["head", "tail", "last_message", "whole"]
Weigh = Callable[[Sequence[int]], Weights]
"""From the answer's tokens so far to the adapters' weights."""

DECIMALS = 6
"""Of a weight, as a mixture has it."""


@dataclass(frozen=True)
class Talk:
    """What a request says: messages (role, text), or one text that the answer goes on with."""

    messages: tuple[tuple[str, str], ...] = ()
    text: str | None = None

    def so_far(self, part: Part, answer: str) -> str:
        """All that the window is cut from: what was said, and the answer as it stands."""
        if self.text is not None:
            return self.text + answer
        texts = [text for _, text in self.messages]
        if part == "last_message":
            texts = [text for role, text in self.messages if role == "user"][-1:]
        return "\n\n".join(text for text in [*texts, answer] if text.strip())


@dataclass(frozen=True)
class Rule:
    """A policy's rule and options.

    Attributes:
        kind: ``softmax`` with ``temperature``, or ``tle``.
        part: which part of the text is embedded.
        temperature: of the softmax.
        top_k: so many of the heaviest stay, and share the weight out among them.
        min_weight: lighter ones go then, and the rest share again.
    """

    kind: Literal["softmax", "tle"] = "softmax"
    part: Part = "tail"
    temperature: float = 0.05
    top_k: int = 4
    min_weight: float = 0.02

    def weights(self, scores: Sequence[float]) -> list[float]:
        """The weights of adapters of these scores."""
        tle = self.kind == "tle"
        weights = tle_weights(scores) if tle else softmax(scores, self.temperature)
        heaviest = sorted(range(len(weights)), key=lambda place: -weights[place])[: self.top_k]
        kept = _shared([w if place in heaviest else 0.0 for place, w in enumerate(weights)])
        return _shared([weight if weight >= self.min_weight else 0.0 for weight in kept])

    def of(self, embedding: Vector, centroids: Centroids) -> Weights:
        """The adapters' weights under an embedding [d], those of no weight left out."""
        weights = self.weights(scores_of(embedding, centroids))
        rounded = {
            name: round(weight, DECIMALS) for name, weight in zip(centroids, weights, strict=True)
        }
        return {name: weight for name, weight in sorted(rounded.items()) if weight}


def _shared(weights: Sequence[float]) -> list[float]:
    return [weight / sum(weights) for weight in weights]


TLE = Rule(kind="tle", part="head", top_k=1000, min_weight=0.0)
"""LoRA-TLE itself."""


def text_of(tokens: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> str:
    """New tokens as the text that is embedded: without special tokens, spaces as they are."""
    text: str = tokenizer.decode(
        list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return text


def weigh_by(
    rule: Rule,
    encoder: MiniLM,
    centroids: Centroids,
    said: Talk,
    tokenizer: PreTrainedTokenizerBase,
) -> Weigh:
    """The weights for what was said and the answer so far, by the sentence encoder."""

    def weigh(answer: Sequence[int]) -> Weights:
        text = said.so_far(rule.part, text_of(answer, tokenizer))
        if rule.part == "tail":
            text = encoder.last(text, encoder.reads)
        elif rule.part != "head":
            assert encoder.first(text, encoder.reads) == text.rstrip(), "all of it must fit"
        return rule.of(encoder.embed(text), centroids)

    return weigh


def weigh_by_rows(
    rule: Rule, centroids: Centroids, folder: Path, prompt: Sequence[int], last: int
) -> Weigh:
    """The weights by a static encoder: the mean of the rows of the last tokens.

    Args:
        rule: the policy's.
        centroids: in the space that the encoder was distilled from.
        folder: of the encoder; nothing may lie outside its projection.
        prompt: the prompt's tokens.
        last: how many tokens of prompt and answer count.
    """
    arrays = load_file(folder / "vectors.safetensors")
    rows = (arrays["codes"].double() * arrays["scales"].double()[:, None]).numpy()
    projection = arrays["projection"].double().numpy()

    def weigh(answer: Sequence[int]) -> Weights:
        mean = rows[[*prompt, *answer][-last:]].mean(axis=0)
        return rule.of(mean / np.linalg.norm(mean) @ projection, centroids)

    return weigh
