"""The options that every policy has, and the pure functions that apply them.

They are applied in this order:

    1. candidates   include and exclude lists, before anything is scored
    2. window       which part of the text is embedded and scored
    3. threshold    no score reaches it: the fallback answers, and nothing below applies
    4. the policy   scores [n] → weights [n]
    5. top_k        the k heaviest stay, and are scaled up to the sum there was before;
                    a policy does this as it weighs, so that the others leave no trace
    6. min_weight   lighter ones go, the rest are scaled up; none left: the fallback answers
    7. base_share   the rest is scaled by 1 − base_share; the share itself goes to no adapter

``combination``, ``scope`` and ``stride`` say how and when the weights are applied: once
(``prompt``), or again every ``stride`` generated tokens, for the tokens that follow (``token``) or
for everything so far anew (``recompute``). ``encoder`` says what embeds: the server's own, or the
static one that was distilled from it.
"""

import math
from collections.abc import Iterable
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from adapters.names import NAME_PATTERN
from adapters.printable import hidden_character
from router.mixture import Combination

Vector = npt.NDArray[np.float64]

MAX_NAMES = 1024
"""Adapters that one list of a policy may name: its candidates, or the weights of a fixed merge."""
DEFAULT_BEFORE: Final = 4
"""Messages before the question that a conversation counts."""

DEFAULT_RECENCY: Final = 0.6
"""What a message counts, of what the one after it counts. Measured on other texts than those of the
demo tasks' held-out files (benchmarks/results/routing_windows.md)."""

NAME_RULE = "1 to 64 of a–z, 0–9, '.', '_', '-', beginning with a letter or digit"

Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")]
WindowPart = Literal["head", "tail", "last_message", "conversation", "whole"]
Scope = Literal["prompt", "token", "recompute"]
EncoderChoice = Literal["default", "static"]


class Candidates(BaseModel):
    """Which adapters a policy may choose from; all that a request may use, by default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    include: tuple[Name, ...] | None = Field(
        default=None, min_length=1, max_length=MAX_NAMES, strict=False
    )
    exclude: tuple[Name, ...] = Field(default=(), max_length=MAX_NAMES, strict=False)

    @model_validator(mode="after")
    def _do_not_cancel(self) -> "Candidates":
        both = set(self.include or ()) & set(self.exclude)
        if both:
            raise ValueError(f"include and exclude {min(both)!r} at once")
        return self

    def through(self, names: Iterable[str]) -> tuple[str, ...]:
        """The names that both lists let through, in their order."""
        included = None if self.include is None else frozenset(self.include)
        excluded = frozenset(self.exclude)
        return tuple(
            name
            for name in names
            if (included is None or name in included) and name not in excluded
        )


class Window(BaseModel):
    """Which part of a conversation is embedded, at most ``pieces`` word pieces of it.

    ``head`` and ``tail`` are the first and the last word pieces of all messages. ``last_message``
    is the user's last message, or the beginning and the end of a long one; ``conversation`` that,
    and the talk before it: at most ``before`` messages, each of which counts ``recency`` times what
    the one after it does. ``whole`` is all of it: embedded in stretches as long as the encoder
    reads, whose mean counts. ``pieces`` defaults to what the encoder reads, and for ``whole`` to
    four times that.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    part: WindowPart = "last_message"
    pieces: int | None = Field(default=None, ge=1, le=8192)
    before: int = Field(default=DEFAULT_BEFORE, ge=0, le=16)
    recency: float = Field(default=DEFAULT_RECENCY, ge=0, le=1, allow_inf_nan=False)

    @model_validator(mode="after")
    def _refuse_meaningless(self) -> "Window":
        given = {
            "before": self.before != DEFAULT_BEFORE,
            "recency": self.recency != DEFAULT_RECENCY,
        }
        for option, is_changed in given.items():
            if is_changed and self.part != "conversation":
                raise ValueError(
                    f"{option!r} is for the part 'conversation' and means nothing for "
                    f"{self.part!r}; take it out"
                )
        return self

    @model_serializer(mode="wrap")
    def _without_meaningless(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Its fields; those of another part are left out, so that they are in no version."""
        fields: dict[str, object] = write(self)
        of_talk = {"before", "recency"} if self.part != "conversation" else set()
        return {name: value for name, value in fields.items() if name not in of_talk}


def _spelt_out(value: object) -> object:
    return {"part": value} if isinstance(value, str) else value


WindowField = Annotated[Window, BeforeValidator(_spelt_out)]


def _without_hidden(text: str) -> str:
    hidden = hidden_character(text)
    if hidden is not None:
        raise ValueError(f"holds the character {hidden}, which cannot be seen; take it out")
    return text


class Options(BaseModel):
    """The options of every policy. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    description: Annotated[str, AfterValidator(_without_hidden)] | None = Field(
        default=None, max_length=500
    )
    candidates: Candidates = Candidates()
    window: WindowField = Window()
    threshold: float | None = Field(default=None, ge=-1, le=1, allow_inf_nan=False)
    fallback: Name = "base"
    top_k: int | None = Field(default=None, ge=1)
    min_weight: float = Field(default=0.0, ge=0, lt=1, allow_inf_nan=False)
    base_share: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    combination: Combination = "cat"
    scope: Scope = "prompt"
    stride: int = Field(default=1, ge=1, le=1_000_000)
    encoder: EncoderChoice = "default"


def reaches(scores: Vector, threshold: float | None) -> bool:
    """Whether the best of scores [n ≥ 1] is at least the threshold."""
    return threshold is None or bool(scores.max() >= threshold)


def heaviest(values: Vector, k: int | None) -> npt.NDArray[np.intp]:
    """The places of the k largest of values [n], in order; of equal ones the first. None: all."""
    if k is None or k >= len(values):
        return np.arange(len(values))
    last = np.partition(values, -k)[-k]
    above = np.flatnonzero(values > last)
    level = np.flatnonzero(values == last)[: k - len(above)]
    return np.sort(np.concatenate([above, level]))


def at_least(weights: Vector, min_weight: float) -> Vector:
    """Those of weights [..., n] ≥ ``min_weight``, scaled up to the sum of all; zeros if none is."""
    if min_weight == 0:
        return weights
    return rescaled(np.where(weights >= min_weight, weights, 0.0), _total(weights))


def beside_base(weights: Vector, base_share: float) -> Vector:
    """The weights scaled by 1 − base_share."""
    return weights * (1.0 - base_share)


def rescaled(weights: Vector, total: Vector) -> Vector:
    """Weights [..., n] scaled so that they sum to ``total`` [..., 1]; zeros stay zeros."""
    present = _total(weights)
    scaled: Vector = weights * (total / np.where(present > 0, present, 1.0))
    return scaled


def _total(weights: Vector) -> Vector:
    """Sums [..., 1] of weights [..., n], rounded once: zeros and the order leave no trace."""
    rows = weights.reshape(-1, weights.shape[-1])
    sums = [math.fsum(row[row != 0].tolist()) for row in rows]
    return np.array(sums).reshape(*weights.shape[:-1], 1)
