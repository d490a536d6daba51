"""Which part of a conversation is embedded.

An encoder reads only so many word pieces (256 for MiniLM) and drops what follows, so the part is
cut out before the encoder sees it: otherwise the tail of a long prompt would never count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from router.encoders.base import Encoder
from router.policies.options import Window

WHOLE_STRETCHES = 4
"""Stretches of a ``whole`` window when it does not say how long it is."""


@dataclass(frozen=True, slots=True)
class RoutingInput:
    """What a request says.

    Attributes:
        messages: (role, text), oldest first; empty where there is a plain text.
        text: a plain text, or None.
    """

    messages: tuple[tuple[str, str], ...] = ()
    text: str | None = None

    @property
    def whole(self) -> str:
        """All texts in order, a blank line between them."""
        if self.text is not None:
            return self.text
        return "\n\n".join(text for _, text in self.messages if text.strip())

    def followed_by(self, answer: str) -> "RoutingInput":
        """The same, with what has been generated since; blank text is nothing."""
        if not answer.strip():
            return self
        if self.text is not None:
            return RoutingInput(text=self.text + answer)
        return RoutingInput((*self.messages, ("assistant", answer)))

    @property
    def last_message(self) -> str:
        """The user's last message that says something; without one, the last of anybody's."""
        if self.text is not None:
            return self.text
        texts = [(role, text) for role, text in self.messages if text.strip()]
        asked = [text for role, text in texts if role == "user"]
        return asked[-1] if asked else (texts[-1][1] if texts else "")


def stretches(
    spoken: RoutingInput, window: Window, encoder: Encoder, answer: str = ""
) -> list[str]:
    """The texts to embed, none longer than the encoder reads; empty if there is no text.

    With an ``answer`` (what has been generated so far), ``tail`` moves on with it. ``last_message``
    and ``whole`` take it in as if it were part of the prompt, as long as all of it fits; then the
    prompt's own stretches stay and the answer's last word pieces make one more, so that routing
    never freezes. ``head`` does freeze once it is full: that is LoRA-TLE (arXiv 2311.10847) to the
    letter.
    """
    prompt = _of_prompt(spoken, window, encoder)
    if not answer.strip():
        return prompt
    grown = spoken.followed_by(answer)
    if window.part in ("head", "tail"):
        return _of_prompt(grown, window, encoder)
    pieces = _reach(window, encoder)
    text = grown.whole if window.part == "whole" else _since_last_message(spoken, answer)
    if encoder.cut(text, pieces, None).strip():
        return [*prompt, encoder.cut(answer, -min(pieces, encoder.max_pieces), None)]
    return _consecutive(text, pieces, encoder)


def _since_last_message(spoken: RoutingInput, answer: str) -> str:
    if spoken.text is not None:
        return spoken.text + answer
    return "\n\n".join(text for text in (spoken.last_message, answer) if text.strip())


def _reach(window: Window, encoder: Encoder) -> int:
    """How many word pieces a window spans."""
    limit = encoder.max_pieces
    if window.part == "whole":
        return window.pieces or WHOLE_STRETCHES * limit
    return min(window.pieces or limit, limit)


def _of_prompt(spoken: RoutingInput, window: Window, encoder: Encoder) -> list[str]:
    pieces = _reach(window, encoder)
    if window.part == "whole":
        return _consecutive(spoken.whole, pieces, encoder)
    if window.part == "tail":
        cut = encoder.cut(spoken.whole, -pieces, None)
    elif window.part == "head":
        cut = encoder.cut(spoken.whole, 0, pieces)
    else:
        cut = encoder.cut(spoken.last_message, 0, pieces)
    return [cut] if cut.strip() else []


def embedding_of(texts: Sequence[str], encoder: Encoder) -> npt.NDArray[np.float32]:
    """The embedding [d] of one stretch, or the mean of several by their length."""
    return mean_embedding(encoder.encode(texts), texts)


def mean_embedding(
    rows: Sequence[npt.NDArray[np.float32]] | npt.NDArray[np.float32], texts: Sequence[str]
) -> npt.NDArray[np.float32]:
    """The mean [d] of the texts' embeddings [n, d] by the texts' length."""
    lengths = np.array([len(text) for text in texts], dtype=np.float64)
    mean: npt.NDArray[np.float32] = np.average(rows, axis=0, weights=lengths).astype(np.float32)
    return mean


def _consecutive(text: str, pieces: int, encoder: Encoder) -> list[str]:
    found: list[str] = []
    for start in range(0, pieces, encoder.max_pieces):
        cut = encoder.cut(text, start, min(start + encoder.max_pieces, pieces))
        if not cut.strip():
            break
        found.append(cut)
    return found
