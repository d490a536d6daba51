"""A window over tokens that grows with the answer, for encoders that only need a sum of rows.

The window's part of the prompt is tokenised once; after that a weighing costs the rows of the
tokens that came into the window since the last one, and of those that left it.
"""

from collections.abc import Sequence

from router.blanks import has_words
from router.encoders.static import Embedding, StaticEncoder, SumState
from router.policies.options import Window
from router.window import (
    ENDS,
    RoutingInput,
    Stretch,
    before_question,
    length_of_end,
    mean_embedding,
)


class RunningSum:
    """One request's sum; not shared between threads.

    Args:
        encoder: what embeds.
        window: which tokens count; ``pieces`` are tokens here.
        prompt: the tokens of the prompt that the window may reach.
        before: the talk before the question, which does not grow.
    """

    def __init__(
        self,
        encoder: StaticEncoder,
        window: Window,
        prompt: Sequence[int],
        before: Sequence[Stretch] = (),
    ) -> None:
        self._window = window
        self._prompt = prompt
        self._before = before
        self._rows = list(encoder.encode(before)) if before else []
        self._state = encoder.begin_ids(())
        self._asked = self._answered = slice(0, 0)

    @classmethod
    def of(cls, encoder: StaticEncoder, window: Window, spoken: RoutingInput) -> "RunningSum":
        """The sum for a request that says ``spoken``, before anything is generated."""
        if window.part not in ("last_message", "conversation"):
            return cls(encoder, window, _ids(spoken.whole, encoder))
        asked = both_ends(_ids(spoken.last_message, encoder), window.pieces)
        if window.part == "last_message":
            return cls(encoder, window, asked)
        return cls(encoder, window, asked, before_question(spoken, window, encoder))

    def state(self, answer: Sequence[int]) -> SumState:
        """The sum over the window, with what has been generated so far; empty if there is no text.

        Args:
            answer: generated tokens; each call's begin with the last call's.
        """
        asked, answered = parts(self._window, len(self._prompt), len(answer))
        _move(self._state, self._prompt, self._asked, asked)
        _move(self._state, answer, self._answered, answered)
        self._asked, self._answered = asked, answered
        return self._state

    def embedding(self, row: Embedding | None) -> Embedding | None:
        """The window's embedding [d], from that of the sum; None for nothing said, in both."""
        if not self._rows:
            return row
        if row is None:
            return mean_embedding(self._rows, self._before)
        return mean_embedding([row, *self._rows], [Stretch.of("", 1.0), *self._before])


def both_ends(ids: Sequence[int], pieces: int | None) -> Sequence[int]:
    """Tokens of a message, or the beginning and the end of those of a long one."""
    each = 0 if pieces is None else length_of_end(pieces, ENDS)
    if pieces is None or len(ids) <= pieces or not each:
        return ids
    return [*ids[:each], *ids[-each:]]


def _ids(text: str, encoder: StaticEncoder) -> Sequence[int]:
    return encoder.ids(text) if has_words(text) else ()


def parts(window: Window, prompt: int, answer: int) -> tuple[slice, slice]:
    """The tokens of a prompt and of an answer, of these lengths, that a window spans.

    As for texts (``router.window``): ``tail`` moves on, ``head`` stops when it is full, and in the
    others the prompt's own tokens stay and the answer's last ones count beside them.
    """
    reach = window.pieces
    if reach is None:
        return slice(0, prompt), slice(0, answer)
    if window.part == "tail":
        latest = slice(max(0, answer - reach), answer)
        return slice(max(0, prompt - max(0, reach - answer)), prompt), latest
    asked = min(prompt, reach)
    if window.part == "head":
        return slice(0, asked), slice(0, min(answer, reach - asked))
    return slice(0, asked), slice(max(0, answer - reach), answer)


def _move(state: SumState, ids: Sequence[int], old: slice, new: slice) -> None:
    """Take the sum over ``ids[old]`` to that over ``ids[new]``; neither end moves back."""
    if old.start < new.start:
        state.remove(ids[old.start : min(new.start, old.stop)])
    fresh = ids[max(old.stop, new.start) : new.stop]
    if fresh:
        state.add(fresh)
