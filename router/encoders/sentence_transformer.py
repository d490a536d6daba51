"""Encoders that the sentence-transformers library loads, by folder or by hub name.

The default is all-MiniLM-L6-v2: 384 dimensions, mean pooling, L2-normalised, 256 word pieces.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from transformers.utils import logging as transformers_logging

from router.encoders.base import Space
from router.encoders.cache import EmbeddingCache
from router.encoders.prepared import prepare
from router.errors import EncoderFailed

CHARACTERS_PER_PIECE = 64
"""More than a word piece spans as a rule: a cut tokenises so much at first."""

REACH_GROWTH = 4
"""How many times as much it tokenises next, where that held too few pieces: blanks make none, and a
word without end makes one."""

BORDER = 256
"""Characters at the end of what was tokenised whose pieces may be others in the whole text."""

UNBOUNDED_PIECES = 8192

PADDED_PIECES = 32
"""Texts are padded to a multiple of so many in bfloat16, so that few shapes occur."""


class SentenceTransformerEncoder:
    """One model behind a lock, with a small cache of embeddings.

    Args:
        model: a local folder, or a name on a hub.
        local_files_only: never fetch; a hub name then means an already cached copy.
        device: where the model runs. A small encoder beside an engine belongs on the processor.
        threads: torch threads of one call; None leaves torch's own number. One by default, since
            the engine's threads want the other cores.
        cache_size: how many embeddings are remembered; 0 for none.
        dtype: what the transformer computes in; pooling and normalising stay in float32. bfloat16
            moves a cosine by some 1e-5, and costs a third where the processor has products for it.

    Raises:
        EncoderFailed: the model cannot be found or loaded.
    """

    def __init__(
        self,
        model: str,
        *,
        local_files_only: bool = True,
        device: str = "cpu",
        threads: int | None = 1,
        cache_size: int = 1024,
        dtype: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        self._name = model.rstrip("/").rsplit("/", 1)[-1]
        self._model = _load(model, local_files_only=local_files_only, device=device)
        if dtype == "bfloat16":
            _compute_in_bfloat16(self._model)
        self._tokenizer = _plain_tokenizer(self._model, self._name)
        self._max_pieces = _max_pieces(self._model, self._tokenizer)
        self._threads = threads
        self._cache = EmbeddingCache(cache_size)
        self._lock = Lock()
        self._dimension = int(self._encode([""]).shape[1])

    @property
    def name(self) -> str:
        """The last part of the model's path or hub name: says nothing of where it lies."""
        return self._name

    @property
    def space(self) -> Space:
        """Its own: named like it, as wide as its embeddings."""
        return Space(self._name, self._dimension)

    @property
    def dimension(self) -> int:
        """Width d of an embedding."""
        return self._dimension

    @property
    def max_pieces(self) -> int:
        """Word pieces that the model reads, its own special ones not counted."""
        return self._max_pieces

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embeddings [n, d] of n texts, as the model gives them."""
        texts = [_readable(text) for text in texts]
        found = {text: self._cache.get(text) for text in texts}
        missing = [text for text, embedding in found.items() if embedding is None]
        if missing:
            for text, embedding in zip(missing, self._encode(missing), strict=True):
                found[text] = embedding
                self._cache.put(text, embedding.copy())
        rows = [found[text] for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), self._dimension)

    def cut(self, text: str, start: int, stop: int | None) -> str:
        """The text's word pieces ``[start:stop]``, as they stand in it."""
        text = _readable(text)
        reach = CHARACTERS_PER_PIECE * _pieces_needed(start, stop) if text else 0
        while True:
            part = text[-reach:] if start < 0 else text[:reach]
            offsets = self._offsets(part)
            if len(part) == len(text) or _has_enough(offsets, len(part), start, stop):
                break
            reach *= REACH_GROWTH
        found = offsets[start:stop]
        return part[found[0][0] : found[-1][1]] if found else ""

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        """Where in a text its word pieces begin and end."""
        offsets: list[tuple[int, int]] = self._tokenizer.encode(
            text, add_special_tokens=False
        ).offsets
        return offsets

    def _encode(self, texts: list[str]) -> npt.NDArray[np.float32]:
        try:
            with self._lock, _torch_threads(self._threads):
                embeddings = self._model.encode(
                    texts, convert_to_numpy=True, show_progress_bar=False
                )
        except (RuntimeError, ValueError, TypeError) as err:
            raise EncoderFailed(f"encoder {self._name!r} could not encode: {err}") from err
        rows = np.asarray(embeddings, dtype=np.float32)
        if not np.isfinite(rows).all():
            raise EncoderFailed(f"encoder {self._name!r} gave values that are not finite")
        return rows


def _load(model: str, *, local_files_only: bool, device: str) -> Any:  # noqa: ANN401
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        return SentenceTransformer(model, device=device, local_files_only=local_files_only)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as err:
        reason = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
        where = "folder" if Path(model).exists() else "local folder or cached model"
        raise EncoderFailed(
            f"no encoder can be loaded from the {where} {model!r}: {reason}"
        ) from err
    finally:
        if bars:
            transformers_logging.enable_progress_bar()


def _compute_in_bfloat16(model: Any) -> None:  # noqa: ANN401
    """Narrow the transformer; what follows it gets float32 again. Other models are left alone."""
    transformer = getattr(model[0], "auto_model", None)
    if transformer is None:
        return
    transformer.to(torch.bfloat16)
    prepare(transformer)
    model[0].register_forward_hook(_widened)
    # A product of a new shape has to be prepared, which costs more than the product itself.
    model[0].processing_kwargs = {"text": {"pad_to_multiple_of": PADDED_PIECES}}


def _widened(module: Any, given: Any, features: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    del module, given
    return {**features, "token_embeddings": features["token_embeddings"].float()}


def _plain_tokenizer(model: Any, name: str) -> Tokenizer:  # noqa: ANN401
    """A private copy of the model's tokenizer, so that cuts neither truncate nor race with it."""
    tokenizer = getattr(model.tokenizer, "backend_tokenizer", model.tokenizer)
    if not isinstance(tokenizer, Tokenizer):
        raise EncoderFailed(
            f"encoder {name!r} has no fast tokenizer; choose a model with a tokenizer.json"
        )
    copy: Tokenizer = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def _max_pieces(model: Any, tokenizer: Tokenizer) -> int:  # noqa: ANN401
    limit = model.max_seq_length
    if limit is None or not 0 < limit < UNBOUNDED_PIECES:
        return UNBOUNDED_PIECES
    special = int(tokenizer.num_special_tokens_to_add(False))
    return max(1, int(limit) - special)


def _readable(text: str) -> str:
    """The text with a question mark for each half of a surrogate pair, which JSON lets through."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _pieces_needed(start: int, stop: int | None) -> int:
    """Pieces from the text's beginning, or for a negative start its end, that a slice reaches."""
    if start < 0:
        return -start
    return UNBOUNDED_PIECES if stop is None or stop < 0 else stop


def _has_enough(offsets: list[tuple[int, int]], length: int, start: int, stop: int | None) -> bool:
    """Whether a part of a text has all pieces of a slice, and none that ends within its border."""
    if start < 0:
        return sum(begin >= min(BORDER, length // 2) for begin, _ in offsets) >= -start
    if stop is None or stop < 0:
        return False
    return sum(end <= length - min(BORDER, length // 2) for _, end in offsets) >= stop


@contextmanager
def _torch_threads(count: int | None) -> Iterator[None]:
    if count is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
