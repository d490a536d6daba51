"""The step's buffers say what the batch says, and forget the step before."""

import numpy as np
import pytest

from server.engine.bank.step_gates import SlotGates, StepGates

A = SlotGates((2, 0), (0.7, 0.3), (1.0, 1.0), crossed=False)
B = SlotGates((2,), (0.5,), (2.0,), crossed=True)
RANKS = {0: 8, 2: 16}


def views(step: StepGates) -> dict[str, np.ndarray]:
    names = ("header", "slots", "tokens", "inner", "outer", "crossed")
    return dict(zip(names, (t.numpy() for t in step.tensors), strict=True))


def test_pairs_are_listed_slot_by_slot() -> None:
    step = StepGates(16, 4, "cpu")
    step.fill([A, None, B], [3, 2, 1], RANKS)
    v = views(step)
    assert v["header"].tolist() == [6, 2]
    assert v["slots"][:3].tolist() == [[0, 8, 0], [2, 16, 3], [0, 0, 7]]
    assert v["tokens"][:7].tolist() == [0, 1, 2, 0, 1, 2, 5]
    assert v["inner"][1].tolist() == pytest.approx([0.3, 0, 0.7, 0])
    assert not v["inner"][3:5].any(), "base rows have no gates"
    assert v["crossed"][:6].tolist() == [0, 0, 0, 0, 0, 1]


def test_the_step_before_leaves_nothing() -> None:
    step = StepGates(16, 4, "cpu")
    step.fill([A, B], [4, 8], RANKS)
    step.fill([None, A], [1, 1], RANKS)
    v = views(step)
    assert v["header"].tolist() == [2, 2]
    assert not v["inner"][0].any()
    assert not v["inner"][2:].any()
    assert not v["outer"][2:].any()
    assert not v["crossed"].any()
    step.clear()
    assert views(step)["header"].tolist() == [0, 0]


def test_addresses_never_change() -> None:
    step = StepGates(8, 2, "cpu")
    before = [t.data_ptr() for t in step.tensors]
    step.fill([SlotGates((1,), (1.0,), (1.0,), crossed=False)], [5], {1: 4})
    assert [t.data_ptr() for t in step.tensors] == before


def test_the_same_batch_again_is_not_filled_again() -> None:
    step = StepGates(8, 4, "cpu")
    step.fill([A], [1], RANKS)
    views(step)["inner"][0, 2] = 9.0
    step.fill([A], [1], RANKS)
    assert views(step)["inner"][0, 2] == 9.0
    step.fill([A], [1], {0: 8, 2: 4})
    assert views(step)["inner"][0, 2] == pytest.approx(0.7), "another rank: another adapter"


def test_too_many_tokens_are_refused() -> None:
    step = StepGates(8, 4, "cpu")
    with pytest.raises(ValueError, match="9 tokens in a step; the gate buffers hold 8"):
        step.fill([A], [9], RANKS)
