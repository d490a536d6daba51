"""What crosses between the server, the engine core and the workers, typed."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

EXTRA_KEY: Final = "loralloy"
"""Key of ``SamplingParams.extra_args`` that carries a request's mixture. Reserved: set by the
server alone."""


Weighed = tuple[tuple[int, float], ...]
"""A weighing's result: (adapter id, weight)."""


@dataclass(frozen=True, slots=True)
class Follow:
    """What the server says of a request whose weights follow its answer.

    Attributes:
        key: the policy that the workers were given.
        scope: ``token`` or ``recompute``.
        stride: generated tokens from one weighing to the next.
        messages: the prompt's messages as (role, text).
        text: the prompt's text where there are no messages.
        trace: the name under which weighings are reported; None for not at all.
    """

    key: str
    scope: Literal["token", "recompute"]
    stride: int
    messages: tuple[tuple[str, str], ...] = ()
    text: str | None = None
    trace: str | None = None

    def to_wire(self) -> dict[str, Any]:
        """Plain values for the request's ``extra_args``."""
        return {
            "key": self.key,
            "scope": self.scope,
            "stride": self.stride,
            "messages": [list(message) for message in self.messages],
            "text": self.text,
            "trace": self.trace,
        }

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> "Follow":
        """The same from its wire form."""
        messages = tuple((role, text) for role, text in wire["messages"])
        return cls(**{**wire, "messages": messages})


class Weighing(msgspec.Struct, frozen=True, array_like=True):
    """A weighing: whose (the server's name and the engine's), its number, its result."""

    trace: str
    request: str
    number: int
    weighed: Weighed
