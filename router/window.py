"""Which part of a conversation is embedded.

An encoder reads only so many word pieces (256 for MiniLM) and drops what follows, so the part is
cut out before the encoder sees it: otherwise the tail of a long prompt would never count.

A follow-up such as "Can you explain the second step?" says little of its subject, and what was said
before it does. So a ``conversation`` is the question and, less the longer ago, the messages before:

    e ∝ e(q) + v Σ_i r^i e(m_i),   v = min(1, SHORT / |q|)

with q the user's last message, m_i the message i before it, r the recency, and lengths in
characters: a question that is longer speaks for itself. The constants are measured
(``benchmarks/results/routing_windows.md``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from router.blanks import condensed, has_words
from router.encoders.base import Encoder
from router.policies.options import Window

WHOLE_STRETCHES = 4
"""Stretches of a ``whole`` window when it does not say how long it is."""

ENDS: Final = 4
"""Of a message that is longer than the window, the first and the last of so many parts count: what
is asked stands at an end, and what is between speaks of anything. A message before the question
is read as long as one of them."""

LEAST_END: Final = 8
"""Word pieces that an end has at least: of a window for fewer the beginning counts alone."""

SHORT: Final = 45
"""Characters of a question up to which the talk before it counts in full."""

MOST_PIECES: Final = 4
"""Word pieces that a character can make: so many bytes it has at most."""

SPOKEN: Final = ("user", "assistant")
"""Whose messages are the talk before a question."""


class Stretch(str):
    """A text to embed.

    Attributes:
        weight: what its embedding counts beside those of the others.
    """

    __slots__ = ("weight",)
    weight: float

    @classmethod
    def of(cls, text: str, weight: float | None = None) -> "Stretch":
        """A text of that weight; by default it counts by its length."""
        made = cls(text)
        made.weight = len(text) if weight is None else weight
        return made


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
        """All texts in order, a blank line between them; long runs of blanks are shortened."""
        if self.text is not None:
            return condensed(self.text)
        return "\n\n".join(condensed(text) for _, text in self.messages if text.strip())

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
            return condensed(self.text)
        place = self._place_of_last()
        return "" if place is None else condensed(self.messages[place][1])

    def before_last(self, most: int) -> tuple[str, ...]:
        """What user and assistant have said before the last message, the latest first."""
        place = self._place_of_last()
        if place is None:
            return ()
        said = (text for role, text in reversed(self.messages[:place]) if role in SPOKEN)
        return tuple(condensed(text) for text in said if has_words(text))[:most]

    def _place_of_last(self) -> int | None:
        spoken = [place for place, (_, text) in enumerate(self.messages) if text.strip()]
        asked = [place for place in spoken if self.messages[place][0] == "user"]
        return next(reversed(asked or spoken), None)


def stretches(
    spoken: RoutingInput, window: Window, encoder: Encoder, answer: str = ""
) -> list[Stretch]:
    """The texts to embed, none longer than the encoder reads; empty where no word is said.

    With an ``answer`` (what has been generated so far), ``tail`` moves on with it. The others but
    ``head`` take it in as if it were part of the prompt, as long as all of it fits; then the
    prompt's own stretches stay and the answer's last word pieces make one more, so that routing
    never freezes. ``head`` does freeze once it is full: that is LoRA-TLE (arXiv 2311.10847) to the
    letter.
    """
    found = _of_question(spoken, window, encoder, answer)
    if window.part != "conversation":
        return found
    whole = sum(one.weight for one in found)
    asked = [Stretch.of(one, one.weight / whole) for one in found]
    return [*asked, *before_question(spoken, window, encoder)]


def before_question(spoken: RoutingInput, window: Window, encoder: Encoder) -> list[Stretch]:
    """The talk before the question, the latest first, beside which the question counts 1."""
    asked = spoken.last_message
    share = min(1.0, SHORT / max(1, len(asked))) if has_words(asked) else 1.0
    pieces = max(1, _reach(window, encoder) // ENDS)
    return [
        Stretch.of(
            ends(text, pieces, length_of_end(pieces, 2), encoder), share * window.recency**turn
        )
        for turn, text in enumerate(spoken.before_last(window.before), 1)
        if window.recency > 0
    ]


def length_of_end(pieces: int, parts: int) -> int:
    """Word pieces of an end that is one of so many parts of a window; 0 if it is too short."""
    each = pieces // parts
    return each if each >= LEAST_END else 0


def ends(text: str, pieces: int, each: int, encoder: Encoder) -> str:
    """A text of at most so many word pieces, or the first and the last ``each`` of a longer one.

    Where ``each`` is 0, of a longer one the beginning.
    """
    if pieces >= MOST_PIECES * len(text):
        return encoder.cut(text, 0, None)
    if each == 0 or not encoder.cut(text, pieces, pieces + 1).strip():
        return encoder.cut(text, 0, pieces)
    return f"{encoder.cut(text, 0, each)}\n\n{encoder.cut(text, -each, None)}"


def _of_question(
    spoken: RoutingInput, window: Window, encoder: Encoder, answer: str
) -> list[Stretch]:
    if not answer.strip():
        return _of_prompt(spoken, window, encoder)
    grown = spoken.followed_by(answer)
    if window.part in ("head", "tail"):
        return _of_prompt(grown, window, encoder)
    pieces = _reach(window, encoder)
    text = grown.whole if window.part == "whole" else _since_last_message(spoken, answer)
    if encoder.cut(text, pieces, pieces + 1).strip():
        latest = encoder.cut(answer, -min(pieces, encoder.max_pieces), None)
        return [*_of_prompt(spoken, window, encoder), *_worded([latest])]
    return _consecutive(text, pieces, encoder)


def _since_last_message(spoken: RoutingInput, answer: str) -> str:
    if spoken.text is not None:
        return condensed(spoken.text + answer)
    return "\n\n".join(condensed(text) for text in (spoken.last_message, answer) if text.strip())


def _reach(window: Window, encoder: Encoder) -> int:
    """How many word pieces a window spans."""
    limit = encoder.max_pieces
    if window.part == "whole":
        return window.pieces or WHOLE_STRETCHES * limit
    return min(window.pieces or limit, limit)


def _of_prompt(spoken: RoutingInput, window: Window, encoder: Encoder) -> list[Stretch]:
    pieces = _reach(window, encoder)
    if window.part == "whole":
        return _consecutive(spoken.whole, pieces, encoder)
    if window.part == "tail":
        return _worded([encoder.cut(spoken.whole, -pieces, None)])
    if window.part == "head":
        return _worded([encoder.cut(spoken.whole, 0, pieces)])
    return _worded([ends(spoken.last_message, pieces, length_of_end(pieces, ENDS), encoder)])


def embedding_of(texts: Sequence[str], encoder: Encoder) -> npt.NDArray[np.float32]:
    """The embedding [d] of one stretch, or the mean of several by their weights."""
    return mean_embedding(encoder.encode(texts), texts)


def mean_embedding(
    rows: Sequence[npt.NDArray[np.float32]] | npt.NDArray[np.float32], texts: Sequence[str]
) -> npt.NDArray[np.float32]:
    """The mean [d] of the texts' embeddings [n, d] by their weights, or else their length."""
    weights = np.array([getattr(text, "weight", len(text)) for text in texts], dtype=np.float64)
    mean: npt.NDArray[np.float32] = np.average(rows, axis=0, weights=weights).astype(np.float32)
    return mean


def _consecutive(text: str, pieces: int, encoder: Encoder) -> list[Stretch]:
    found: list[str] = []
    for start in range(0, pieces, encoder.max_pieces):
        cut = encoder.cut(text, start, min(start + encoder.max_pieces, pieces))
        if not cut.strip():
            break
        found.append(cut)
    return _worded(found)


def _worded(texts: Sequence[str]) -> list[Stretch]:
    """Those in which a word is said."""
    return [Stretch.of(text) for text in texts if has_words(text)]
