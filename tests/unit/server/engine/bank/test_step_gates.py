"""The step's buffers say what the batch says, and forget the step before."""

import numpy as np
import pytest
import torch

from server.engine.bank.step_gates import SlotGates, StepGates

A = SlotGates((2, 0), (0.7, 0.3), (1.0, 1.0), crossed=False)
B = SlotGates((2,), (0.5,), (2.0,), crossed=True)
RANKS = {0: 8, 2: 16}


def views(step: StepGates) -> dict[str, np.ndarray]:
    names = ("header", "slots", "tokens", "inner", "outer", "crossed")
    return dict(zip(names, (t.numpy() for t in step.tensors), strict=True))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_buffers_are_those_that_the_operator_takes(device: str) -> None:
    """As the module's docstring lays them out, S = 3 and T = 5; meta stands for a device."""
    step = StepGates(5, 3, device)
    step.fill([SlotGates((1,), (1.0,), (1.0,), crossed=False)], [5], {1: 4})
    assert {tensor.device.type for tensor in step.tensors} == {device}
    assert [(tensor.dtype, tuple(tensor.shape)) for tensor in step.tensors] == [
        (torch.int32, (2,)),
        (torch.int32, (4, 3)),
        (torch.int32, (15,)),
        (torch.float32, (5, 3)),
        (torch.float32, (5, 3)),
        (torch.uint8, (5,)),
    ]


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


def test_as_many_tokens_as_the_buffers_hold_and_no_more() -> None:
    step = StepGates(8, 4, "cpu")
    step.fill([A, B], [7, 1], RANKS)
    assert views(step)["header"].tolist() == [8, 2]
    with pytest.raises(ValueError, match="9 tokens in a step; the gate buffers hold 8"):
        step.fill([A], [9], RANKS)


def test_an_adapter_of_rank_1_takes_part() -> None:
    step = StepGates(8, 4, "cpu")
    step.fill([gates((3,))], [1], {3: 1})
    assert views(step)["slots"][:2].tolist() == [[3, 1, 0], [0, 0, 1]]


def gates(slots: tuple[int, ...], inner: int | None = None, outer: int | None = None) -> SlotGates:
    counts = (len(slots) if n is None else n for n in (inner, outer))
    return SlotGates(slots, *((1.0,) * n for n in counts), crossed=False)


@pytest.mark.parametrize(
    ("requests", "lengths", "message"),
    [
        ([gates((4,))], [1], r"slots \(4,\), of 4"),
        ([gates((-1,))], [1], r"slots \(-1,\), of 4"),
        ([None, gates((0, 9))], [1, 1], r"slots \(0, 9\), of 4"),
        ([gates((2, 2))], [1], "each of them once"),
        ([gates((0, 2), inner=1)], [1], "1 inner and 2 outer gates for 2 slots"),
        ([gates((0, 2), outer=3)], [1], "2 inner and 3 outer gates for 2 slots"),
        ([gates((0, 1))], [1], r"slots \[1\] are used, and have no rank"),
        ([gates((0, 3))], [1], r"slots \[3\] are used, and have no rank"),
        ([gates((0,))], [-1], "1 requests in a step, of lengths"),
        ([gates((0,)), None], [1], "2 requests in a step, of lengths"),
        ([gates((0,))], [1, 1], "1 requests in a step, of lengths"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_the_step_before(
    requests, lengths, message: str
) -> None:
    step = StepGates(16, 4, "cpu")
    step.fill([A, B], [3, 2], RANKS)
    before = {name: view.copy() for name, view in views(step).items()}
    with pytest.raises(ValueError, match=message):
        step.fill(requests, lengths, {**RANKS, 3: 0})
    for name, view in views(step).items():
        assert np.array_equal(view, before[name]), name
    step.fill([A, B], [3, 2], RANKS)
    assert views(step)["header"].tolist() == [5, 2]
