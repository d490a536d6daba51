"""Which weighing each row gets: the same whatever the chunks make of a request."""

import pytest

from server.engine.messages import ReweighRequest
from server.engine.worker.gate_log import GateLog

PROMPT, NEW = 7, 20


def log(scope: str, stride: int) -> GateLog:
    return GateLog(ReweighRequest("key", scope, stride, (), "hello", None))


def numbers(one: GateLog, first: int, count: int, generated: int) -> list[int]:
    spans = one.spans(first, count, PROMPT, generated)
    return [number for number, rows in spans for _ in range(rows)]


@pytest.mark.parametrize("stride", [1, 2, 3, 8, 1000])
def test_token_scope_is_the_definition(stride: int) -> None:
    """Prompt rows: weighing 0. The row of generated token i: that of step i + 1, ⌊(i + 1) / n⌋."""
    expected = [0] * PROMPT + [(i + 1) // stride for i in range(NEW)]
    assert numbers(log("token", stride), 0, PROMPT + NEW, NEW) == expected


@pytest.mark.parametrize("stride", [1, 2, 3, 8, 1000])
@pytest.mark.parametrize("chunk", [1, 2, 5, 6, 13])
def test_token_scope_does_not_see_the_chunks(stride: int, chunk: int) -> None:
    whole = numbers(log("token", stride), 0, PROMPT + NEW, NEW)
    parts = []
    for first in range(0, PROMPT + NEW, chunk):
        count = min(chunk, PROMPT + NEW - first)
        parts += numbers(log("token", stride), first, count, NEW)
    assert parts == whole


@pytest.mark.parametrize("stride", [1, 3])
def test_recompute_gives_every_row_the_step_at_hand(stride: int) -> None:
    for generated in range(NEW):
        rows = numbers(log("recompute", stride), 0, PROMPT + generated, generated)
        assert rows == [generated // stride] * (PROMPT + generated)
