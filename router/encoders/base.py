"""The seam between the router and a text encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Side = Literal["head", "tail"]


@dataclass(frozen=True, slots=True)
class Space:
    """Where centroids lie: the name of the encoder that spans it, and their width w.

    Centroids and embeddings of one space may be compared with each other.
    """

    name: str
    dimension: int


class Encoder(Protocol):
    """Turns texts into vectors. Implementations are thread-safe."""

    @property
    def name(self) -> str:
        """The model's short name."""
        ...

    @property
    def space(self) -> Space:
        """Where its texts' centroids lie; its own, unless it was distilled from another encoder."""
        ...

    @property
    def dimension(self) -> int:
        """Width d of an embedding: the space's w, or w + 1 with what lies outside the space."""
        ...

    @property
    def max_pieces(self) -> int:
        """How many word pieces of a text the model reads; what follows is not read."""
        ...

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embeddings [n, d] of n texts, L2-normalised where the model itself normalises.

        Raises:
            EncoderFailed: the model could not encode the texts.
        """
        ...

    def cut(self, text: str, start: int, stop: int | None) -> str:
        """The text's word pieces ``[start:stop]`` (Python's slice rules), as they stand in it."""
        ...
