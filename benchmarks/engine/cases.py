"""What is measured: a row is an engine under a load, a column a number of requests or prefill."""

from dataclasses import dataclass, replace
from typing import Any

ADAPTERS = 8


def _single(number: int) -> list[float]:
    return [1.0 if index == number else 0.0 for index in range(ADAPTERS)]


def _four_way(shift: int, members: tuple[int, ...]) -> list[float]:
    """One of eight distinct weightings of four adapters."""
    parts = [(0.4, 0.3, 0.2, 0.1), (0.7, 0.1, 0.1, 0.1)][shift // 4]
    weights = [0.0] * ADAPTERS
    for position, member in enumerate(members):
        weights[member] = parts[(position + shift) % 4]
    return weights


@dataclass(frozen=True)
class Row:
    """An engine and the mixtures of its requests, dealt out in turn. None: the base model."""

    kind: str
    title: str
    mixtures: list[list[float]] | None


ROWS = (
    Row("plain", "vLLM without LoRA", None),
    Row("joined", "vLLM without LoRA, in one process", None),
    Row("stock", "stock vLLM LoRA, one adapter", [_single(0)]),
    Row("stock", "stock vLLM LoRA, four adapters", [_single(n) for n in range(4)]),
    Row("bank", "Loralloy, base requests", None),
    Row("bank", "Loralloy, one adapter", [_single(0)]),
    Row("bank", "Loralloy, four adapters", [_single(n) for n in range(4)]),
    Row(
        "bank",
        "Loralloy, eight distinct 4-way mixtures",
        [_four_way(n, (0, 1, 2, 3)) for n in range(8)],
    ),
    Row(
        "bank",
        "Loralloy, eight 4-way mixtures over eight adapters",
        [_four_way(n, tuple((n + step) % 8 for step in (0, 1, 3, 6))) for n in range(8)],
    ),
)

BESIDE_ROWS = tuple(
    replace(row, kind="beside", title=f"{row.title}, in the other checkout")
    for row in ROWS
    if row.kind == "bank"
)
"""Loralloy's rows once more, of another checkout of it, in the same order."""


@dataclass(frozen=True)
class Column:
    """A load: how many requests at once, of how many prompt tokens, for how many new ones.

    Prefill runs its requests one after another. ``rounds``: measurements in a repeat, all rows in
    turn in each; short ones are measured often, since the machine changes its speed from one second
    to the next.
    """

    title: str
    what: str
    requests: int
    prompt: int
    tokens: int
    rounds: int = 1

    def command(self, row: Row) -> dict[str, Any]:
        """The command that a child process measures."""
        stock, prefill = row.kind == "stock", self.what == "prefill"
        tokens = self.tokens // 2 if stock and not prefill else self.tokens
        return {
            "what": self.what,
            "requests": 1 if stock and prefill else self.requests,
            "prompt": self.prompt,
            "tokens": tokens,
            "mixtures": row.mixtures,
        }

    def shortened(self) -> "Column":
        """For warming up: what compiles or is touched first happens all the same."""
        return replace(self, tokens=min(self.tokens, 8))


COLUMNS = (
    Column("decode, 1", "decode", 1, 32, 24),
    Column("decode, 8", "decode", 8, 32, 24),
    Column("decode, 16", "decode", 16, 32, 16),
    Column("prefill, 512", "prefill", 3, 512, 1, rounds=3),
)
"""Stock LoRA gets half the tokens, or one prompt of three: it is several times slower, and what
takes as long as another sees as much of the machine's moods."""
