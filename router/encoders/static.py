"""Encoders that look up one vector a token: cheap enough to follow an answer token by token.

    u = Σ_i row(t_i) / ‖Σ_i row(t_i)‖,   e = (Pᵀ u, √(1 − ‖Pᵀ u‖²))

over the base model's own tokens, so that what the engine generates needs no second tokenizer. u is
what sentence-transformers calls StaticEmbedding (after model2vec), with rows distilled from a
teacher by ``router.distill``; it is read without that library and without torch, since the engine's
workers hold it. P takes u into the teacher's space, where the adapters' centroids lie; the last
value of e is what lies outside, so that cosines are as large as the teacher's. A :class:`SumState`
carries Σ row(t_i): a token more costs one row.

Sums are exact (``router.encoders.token_vectors``), so a state that grew token by token, in any
grouping, equals one made at once, bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from router.blanks import condensed
from router.encoders.base import Space
from router.encoders.blocks import in_blocks, product
from router.encoders.static_format import StaticFolder, read_config, read_folder
from router.encoders.token_vectors import TokenVectors, Vector
from router.encoders.vocabulary import found_tokenizer, load_tokenizer, vocabulary_digest
from router.errors import EncoderFailed

BUNDLED = Path(__file__).with_name("bundled")
"""Encoders that come with the router, for its default base model."""

UNBOUNDED_PIECES = 2**30
"""All of a text is read, however long."""

Embedding = npt.NDArray[np.float32]


@dataclass(slots=True)
class SumState:
    """The running sum of one text's token vectors; not shared between threads.

    Attributes:
        vectors: the rows.
        count: tokens so far.
    """

    vectors: TokenVectors
    count: int = 0
    _total: Vector = field(init=False)

    def __post_init__(self) -> None:
        self._total = np.zeros(self.vectors.width)

    def add(self, ids: Sequence[int]) -> None:
        """Take in more tokens; ids outside the vocabulary and special tokens say nothing."""
        self._total += self.vectors.total(ids)
        self.count += len(ids)

    def remove(self, ids: Sequence[int]) -> None:
        """Take out tokens that were added, as a window does that moves on."""
        self._total -= self.vectors.total(ids)
        self.count -= len(ids)

    def direction(self) -> Vector:
        """Where the sum points [s]: of length 1, or zero if nothing was said."""
        length = float(np.linalg.norm(self._total))
        return self._total / length if length > 0 else np.zeros_like(self._total)

    def copy(self) -> "SumState":
        """The same sum, to grow apart from this one."""
        twin = SumState(self.vectors, self.count)
        twin._total = self._total.copy()
        return twin


class StaticEncoder:
    """Token vectors, and the tokenizer they belong to. Thread-safe.

    Args:
        model: a folder made by ``router.distill``, or the name of a bundled one.
        local_files_only: never fetch the base model's tokenizer from a hub.
        tokenizer: the base model's, its file or its folder; found by its name if None.

    Raises:
        EncoderFailed: a file is missing or damaged, or the tokenizer has another vocabulary.
    """

    def __init__(
        self,
        model: str,
        *,
        local_files_only: bool = True,
        tokenizer: Tokenizer | Path | None = None,
    ) -> None:
        folder = read_folder(_folder_of(model))
        if tokenizer is None:
            tokenizer = found_tokenizer(folder.config.base_model, local_files_only=local_files_only)
        if isinstance(tokenizer, Path):
            tokenizer = load_tokenizer(tokenizer)
        _check_vocabulary(tokenizer, folder)
        self._config = folder.config
        self._vectors = folder.vectors
        self._blocks = in_blocks(folder.projection.T)
        self._tokenizer = tokenizer
        self._longest = max(len(token) for token in tokenizer.get_vocab())

    @property
    def name(self) -> str:
        """The name in the folder's config."""
        return self._config.name

    @property
    def space(self) -> Space:
        """The teacher's: a teacher's centroids serve this encoder too."""
        return Space(self._config.teacher, self._config.teacher_dimension)

    @property
    def dimension(self) -> int:
        """Width d = w + 1 of an embedding."""
        return self._config.teacher_dimension + 1

    @property
    def max_pieces(self) -> int:
        """More tokens than any text has: all of a text counts."""
        return UNBOUNDED_PIECES

    def encode(self, texts: Sequence[str]) -> Embedding:
        """Embeddings [n, d] of n texts, of length 1; zeros for a text without tokens."""
        rows = [self.embedding(self.begin(text)) for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), self.dimension)

    def embedding(self, state: SumState) -> Embedding:
        """The embedding [d] of a text by its state: of length 1, or zero if nothing was said."""
        return self.embeddings(state.direction())

    def embeddings(self, directions: Vector) -> Embedding:
        """The embeddings [..., d] of texts by where their sums point [..., s]."""
        inside = product(self._blocks, directions, self.space.dimension)
        outside = np.square(directions).sum(axis=-1) - np.square(inside).sum(axis=-1)
        beside = np.sqrt(np.maximum(outside, 0.0))[..., None]
        rows: Embedding = np.concatenate([inside, beside], axis=-1).astype(np.float32)
        return rows

    def begin(self, text: str = "") -> SumState:
        """The state of a text, to be added to."""
        return self.begin_ids(self.ids(text))

    def begin_ids(self, ids: Sequence[int]) -> SumState:
        """The state of a text that is given as the base model's tokens."""
        state = SumState(self._vectors)
        state.add(ids)
        return state

    def ids(self, text: str) -> Sequence[int]:
        """The text as the base model's tokens, special ones read as plain text."""
        ids: list[int] = self._tokenizer.encode(_readable(text), add_special_tokens=False).ids
        return ids

    def cut(self, text: str, start: int, stop: int | None) -> str:
        """The text's tokens ``[start:stop]``, as they stand in it but for long runs of blanks."""
        if start >= UNBOUNDED_PIECES:
            return ""
        if start == 0 and (stop is None or stop >= UNBOUNDED_PIECES):
            return _readable(text)
        text = _readable(self._bounded(condensed(text), start, stop))
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets[start:stop]
        return text[offsets[0][0] : offsets[-1][1]] if offsets else ""

    def _bounded(self, text: str, start: int, stop: int | None) -> str:
        """As much of the text as the slice can reach."""
        if start < 0:
            return text[start * self._longest :]
        return text if stop is None or stop < 0 else text[: stop * self._longest]


def bundled_for(base_model: Path) -> str | None:
    """The name of the bundled encoder that has a base model's vocabulary, if there is one.

    Args:
        base_model: its folder.
    """
    try:
        digest = vocabulary_digest(load_tokenizer(base_model))
    except EncoderFailed:  # a tokenizer of another kind: there are no vectors for it
        return None
    for folder in sorted(BUNDLED.iterdir()):
        if folder.is_dir() and read_config(folder).vocabulary_sha256 == digest:
            return folder.name
    return None


def _folder_of(model: str) -> Path:
    folder = Path(model)
    bundled = BUNDLED / model
    return bundled if not folder.is_dir() and bundled.is_dir() else folder


def _check_vocabulary(tokenizer: Tokenizer, folder: StaticFolder) -> None:
    config = folder.config
    if vocabulary_digest(tokenizer) != config.vocabulary_sha256:
        raise EncoderFailed(
            f"encoder {config.name!r} holds vectors for the {config.vocabulary_size} tokens of"
            f" {config.base_model!r}, but the tokenizer given has {tokenizer.get_vocab_size()}"
            " tokens, or others; make one for it by 'python -m router.distill'"
        )


def _readable(text: str) -> str:
    """The text with a question mark for each half of a surrogate pair, which JSON lets through."""
    return text.encode("utf-8", "replace").decode("utf-8")
