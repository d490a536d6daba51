"""What is compared: scopes, strides and encoders of our engine, and the aims between them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

REFERENCE = "LoRA-TLE reference loop (transformers, PEFT)"

RULE: Mapping[str, Any] = {"kind": "tle", "window": "head", "combination": "linear"}
"""The reference's own: its weights, its window, and PEFT's ``linear`` merge."""


@dataclass(frozen=True)
class Variant:
    """A policy under which our engine decodes.

    Attributes:
        name: the policy's name.
        title: what it is called in the tables.
        options: what it says beside the rule.
        most: not measured with more requests than this at once; None for any number.
    """

    name: str
    title: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    most: int | None = None

    @property
    def policy(self) -> dict[str, Any]:
        """The policy as plain values."""
        return {**RULE, **self.options}

    def takes(self, requests: int) -> bool:
        """Whether it is measured with so many requests at once."""
        return self.most is None or requests <= self.most


PROMPT = Variant("prompt", "scope prompt")
TOKEN = Variant("token-1", "scope token, stride 1, MiniLM", {"scope": "token", "stride": 1})
TOKEN_8 = Variant("token-8", "scope token, stride 8, MiniLM", {"scope": "token", "stride": 8})
STATIC = Variant(
    "static-1",
    "scope token, stride 1, static encoder",
    {"scope": "token", "stride": 1, "encoder": "static"},
)
RECOMPUTE_8 = Variant(
    "recompute-8",
    "scope recompute, stride 8, MiniLM",
    {"scope": "recompute", "stride": 8},
    most=1,
)

VARIANTS = (PROMPT, TOKEN, TOKEN_8, STATIC, RECOMPUTE_8)


@dataclass(frozen=True)
class Aim:
    """At least so many times the speed of another."""

    title: str
    versus: str
    at_least: Mapping[int, float]
    """By the number of requests at once."""


TIMES_REFERENCE: Mapping[int, float] = {1: 20.0, 8: 120.0, 32: 300.0}
LOADS = tuple(TIMES_REFERENCE)

AIMS = (
    Aim(TOKEN.title, REFERENCE, TIMES_REFERENCE),
    Aim(STATIC.title, REFERENCE, TIMES_REFERENCE),
    Aim(STATIC.title, PROMPT.title, dict.fromkeys(LOADS, 0.95)),
    Aim(TOKEN_8.title, PROMPT.title, dict.fromkeys(LOADS, 0.8)),
)


def variants(*, has_static: bool) -> list[Variant]:
    """Those that can be measured, with or without a static encoder for the base model."""
    return [one for one in VARIANTS if has_static or one is not STATIC]
