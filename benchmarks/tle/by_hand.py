"""LoRA-TLE's embedding and weights, written out: nothing here is the router's or the server's.

A text is embedded by MiniLM (transformers' model, the mean of its last hidden states, scaled to
length 1), an adapter's score is the largest cosine with one of its centroids, the best score counts
four times, and a softmax gives the weights. A reference that shared the router's parts would agree
with their faults.

Source: Belofsky, "Token-Level Adaptation of LoRA Adapters", arXiv 2311.10847.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from transformers import AutoModel

Vector = npt.NDArray[np.float64]
Centroids = Mapping[str, Vector]
"""Adapter → its centroids [p, d]."""

BEST_COUNTS = 4.0


class MiniLM:
    """The sentence encoder of a folder in sentence-transformers' layout.

    Attributes:
        reads: word pieces of a text that it reads, its own two not counted.
    """

    def __init__(self, folder: Path) -> None:
        settings = json.loads((folder / "sentence_bert_config.json").read_text("utf-8"))
        self.reads = int(settings["max_seq_length"]) - 2
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    def first(self, text: str, count: int) -> str:
        """A text up to the end of its word piece number ``count``."""
        places = self._places(text)
        return text[: places[min(count, len(places)) - 1][1]] if places else ""

    def last(self, text: str, count: int) -> str:
        """A text from where the last ``count`` word pieces of it begin."""
        places = self._places(text)
        return text[places[-min(count, len(places))][0] :] if places else ""

    def _places(self, text: str) -> list[tuple[int, int]]:
        places: list[tuple[int, int]] = self._tokenizer.encode(
            text, add_special_tokens=False
        ).offsets
        return places

    def embed(self, text: str) -> Vector:
        """The embedding [d] of as much of a text as the model reads from its beginning."""
        begin, *pieces, end = self._tokenizer.encode(text).ids
        ids = torch.tensor([[begin, *pieces[: self.reads], end]])
        with torch.inference_mode():
            states = self._model(input_ids=ids, attention_mask=torch.ones_like(ids))
        mean = states.last_hidden_state[0].double().mean(dim=0)
        unit: Vector = (mean / mean.norm()).numpy()
        return unit


def centroids_of(folder: Path) -> Vector | None:
    """The centroids [p, d] in an adapter's ``router.json``, or None without any."""
    found = json.loads((folder / "router.json").read_text("utf-8")).get("centroids")
    return np.array(found, dtype=np.float64) if found else None


def scores_of(embedding: Vector, centroids: Centroids) -> list[float]:
    """Each adapter's score, in their order: the largest cosine with one of its centroids."""
    length = float(np.linalg.norm(embedding))
    return [
        max(float(row @ embedding) / (float(np.linalg.norm(row)) * length) for row in rows)
        for rows in centroids.values()
    ]


def softmax(scores: Sequence[float], temperature: float = 1.0) -> list[float]:
    """exp(s / T), made to sum to 1."""
    top = max(scores)
    parts = [math.exp((score - top) / temperature) for score in scores]
    return [part / sum(parts) for part in parts]


def tle_weights(scores: Sequence[float]) -> list[float]:
    """The best score, and the first of equals, counts four times; then a softmax."""
    best = scores.index(max(scores))
    return softmax([BEST_COUNTS * s if place == best else s for place, s in enumerate(scores)])
