"""A bad call is a ValueError before any memory is touched: every branch, and plain torch alike."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from server.engine.bank.kernels.build import branches_here
from server.engine.bank.step_gates import SlotGates, StepGates
from tests.support.kernels import PLAIN, Kernel, each_branch

SLOTS, RANK, IN, MAX_TOKENS = 3, 4, 10, 16
SLICES = (70, 6)
OUT = sum(SLICES)
RANKS = {0: RANK, 1: RANK, 2: RANK - 1}
FEW = (0, 10**6)
"""No step, or every step, is one of few tokens."""


@pytest.fixture(params=["torch", *branches_here()])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    return PLAIN if request.param == "torch" else each_branch(request)


def normal(*size: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(sum(size))).to(dtype)


def step_of(tokens: int) -> StepGates:
    """A step of two mixtures."""
    step = StepGates(MAX_TOKENS, SLOTS, "cpu")
    first = SlotGates((0, 2), (0.6, 0.4), (1.0, 1.0), crossed=False)
    other = SlotGates((1, 2), (0.5, 0.5), (2.0, 0.5), crossed=True)
    step.fill([first, None, other], [tokens // 2, 1, tokens - tokens // 2 - 1], RANKS)
    return step


@dataclass(frozen=True)
class Call:
    """All that a module is bound with, and called with."""

    a: list[torch.Tensor]
    b: list[torch.Tensor]
    slices: list[int]
    step: list[torch.Tensor]
    y: torch.Tensor
    x: torch.Tensor
    few: int = 0
    module: int | None = None
    later: Callable[["Call"], Any] = field(default=lambda call: None)
    """What happens between binding and calling."""

    def tensors(self) -> list[torch.Tensor]:
        return [*self.a, *self.b, *self.step, self.y, self.x]

    def bind(self, kernel: Kernel) -> int:
        number = kernel.bind(self.a, self.b, self.slices, self.step, self.few)
        self.later(self)
        return number if self.module is None else self.module

    def run(self, kernel: Kernel) -> None:
        kernel.apply(self.y, self.x, self.bind(kernel))


def good(tokens: int = 8, few: int = 0, dtype: torch.dtype = torch.float32) -> Call:
    call = Call(
        [normal(SLOTS, 1, RANK, IN, dtype=dtype) for _ in SLICES],
        [normal(SLOTS, 1, RANK, size, dtype=dtype).transpose(2, 3) for size in SLICES],
        list(SLICES),
        step_of(tokens).tensors,
        normal(tokens, OUT, dtype=dtype),
        normal(tokens, IN, dtype=dtype),
        few,
    )
    for a, b in zip(call.a, call.b, strict=True):
        for slot, rank in RANKS.items():
            a[slot, 0, rank:] = b[slot, 0, :, rank:] = 0  # as vLLM leaves them
    return call


def put(index: int, row: int, column: int | None, value: int) -> Callable[[Call], None]:
    """Write a number into a buffer of the step, as a broken hook would."""

    def later(call: Call) -> None:
        if column is None:
            call.step[index][row] = value
        else:
            call.step[index][row, column] = value

    return later


def swapped(tensors: list[torch.Tensor], index: int, other: torch.Tensor) -> list[torch.Tensor]:
    return [other if n == index else one for n, one in enumerate(tensors)]


def shrunk(call: Call) -> None:
    call.a[0].resize_(SLOTS, 1, RANK, IN // 2)


def moved(call: Call) -> None:
    call.step[3].resize_(2, SLOTS)


BAD: dict[str, Callable[[Call], Call]] = {
    # Rows.
    "a step of more tokens than x has rows": lambda c: replace(c, y=c.y[:2], x=c.x[:2]),
    "no rows at all": lambda c: replace(c, y=c.y[:0], x=c.x[:0]),
    "fewer rows of x than of y": lambda c: replace(c, x=c.x[:7]),
    "fewer rows of y than of x": lambda c: replace(c, y=c.y[:7]),
    # Shapes.
    "x too narrow": lambda c: replace(c, x=c.x[:, :-1].contiguous()),
    "x too wide": lambda c: replace(c, x=normal(8, IN + 1)),
    "y too narrow": lambda c: replace(c, y=normal(8, OUT - 1)),
    "y too wide": lambda c: replace(c, y=normal(8, OUT + 1)),
    "x with a third dimension": lambda c: replace(c, x=c.x[None]),
    "y with a third dimension": lambda c: replace(c, y=c.y[None]),
    "x with one": lambda c: replace(c, x=c.x[0]),
    "y with one": lambda c: replace(c, y=c.y[0]),
    # Types.
    **{
        f"x in {dtype}": lambda c, dtype=dtype: replace(c, x=c.x.to(dtype))
        for dtype in (torch.bfloat16, torch.float16, torch.float64, torch.int32)
    },
    **{
        f"y in {dtype}": lambda c, dtype=dtype: replace(c, y=c.y.to(dtype))
        for dtype in (torch.bfloat16, torch.float16, torch.float64, torch.int32)
    },
    **{
        f"everything in {dtype}": lambda c, dtype=dtype: replace(
            c,
            a=[t.to(dtype) for t in c.a],
            b=[t.to(dtype) for t in c.b],
            x=c.x.to(dtype),
            y=c.y.to(dtype),
        )
        for dtype in (torch.float64, torch.int32, torch.uint8, torch.complex64)
    },
    "A and B unlike": lambda c: replace(c, b=[t.bfloat16() for t in c.b]),
    "slices unlike": lambda c: replace(c, a=swapped(c.a, 1, c.a[1].bfloat16())),
    # Strides.
    "y by columns": lambda c: replace(c, y=c.y.t().contiguous().t()),
    "every other column of y": lambda c: replace(c, y=normal(8, 2 * OUT)[:, ::2]),
    "one row of y for all": lambda c: replace(c, y=c.y[:1].expand(8, -1)),
    "rows of y that overlap": lambda c: replace(
        c, y=torch.zeros(8 * OUT).as_strided((8, OUT), (OUT - 1, 1))
    ),
    "A by columns": lambda c: replace(
        c, a=swapped(c.a, 0, c.a[0].transpose(2, 3).contiguous().transpose(2, 3))
    ),
    "B by ranks": lambda c: replace(c, b=swapped(c.b, 0, c.b[0].contiguous())),
    "one slot of A for all": lambda c: replace(
        c, a=swapped(c.a, 0, c.a[0][:1].expand(SLOTS, -1, -1, -1))
    ),
    "rows of A apart": lambda c: replace(
        c, a=swapped(c.a, 0, normal(SLOTS, 1, 2 * RANK, IN)[:, :, ::2])
    ),
    # Memory that is shared.
    "x is y": lambda c: replace(c, a=[normal(SLOTS, 1, RANK, OUT) for _ in SLICES], x=c.y),
    "x begins within y": lambda c: replace(c, x=c.y.flatten()[5 : 5 + 8 * IN].view(8, IN)),
    "y lies in A": lambda c: replace(
        c,
        y=c.a[0].as_strided((1, OUT), (OUT, 1)).expand(1, OUT),
        x=c.x[:1],
        step=step_of(1).tensors,
    ),
    "y lies in B": lambda c: replace(
        c, y=c.b[0].as_strided((1, OUT), (OUT, 1)), x=c.x[:1], step=step_of(1).tensors
    ),
    "columns of one matrix that overlap": lambda c: replace(
        c,
        y=(wide := normal(8, OUT + IN))[:, :OUT],
        x=wide[:, OUT - 1 : OUT - 1 + IN],
    ),
    # Devices and layouts.
    "x nowhere": lambda c: replace(c, x=c.x.to("meta")),
    "y nowhere": lambda c: replace(c, y=c.y.to("meta")),
    "A nowhere": lambda c: replace(c, a=swapped(c.a, 1, c.a[1].to("meta"))),
    "step nowhere": lambda c: replace(c, step=swapped(c.step, 3, c.step[3].to("meta"))),
    # What is bound.
    "no slices": lambda c: replace(c, a=[], b=[], slices=[]),
    "fewer B than A": lambda c: replace(c, b=c.b[:1]),
    "fewer slices than A": lambda c: replace(c, slices=c.slices[:1]),
    "slices that B does not have": lambda c: replace(c, slices=[6, 70]),
    "a negative slice": lambda c: replace(c, slices=[-70, 6]),
    "A of no rank": lambda c: replace(c, a=[t[:, :, :0] for t in c.a]),
    "A of three dimensions": lambda c: replace(c, a=[t[:, 0] for t in c.a]),
    "other slots in B": lambda c: replace(c, b=[t[:2] for t in c.b]),
    "other ranks in B": lambda c: replace(
        c, b=[normal(SLOTS, 1, RANK - 1, size).transpose(2, 3) for size in SLICES]
    ),
    "few below zero": lambda c: replace(c, few=-1),
    "five buffers": lambda c: replace(c, step=c.step[:5]),
    "buffers of other slots": lambda c: replace(
        c, step=StepGates(MAX_TOKENS, SLOTS + 1, "cpu").tensors
    ),
    "a header of one": lambda c: replace(c, step=swapped(c.step, 0, c.step[0][:1])),
    "tokens cut short": lambda c: replace(c, step=swapped(c.step, 2, c.step[2][:-1])),
    "gates in float64": lambda c: replace(c, step=swapped(c.step, 3, c.step[3].double())),
    "gates by columns": lambda c: replace(
        c, step=swapped(c.step, 4, c.step[4].t().contiguous().t())
    ),
    "A cut short later": lambda c: replace(c, later=shrunk),
    "buffers cut short later": lambda c: replace(c, later=moved),
    # Modules.
    "a module below zero": lambda c: replace(c, module=-1),
    "a module that is not there": lambda c: replace(c, module=10**9),
    # What the step says.
    "more tokens than the buffers hold": lambda c: replace(
        c, y=normal(4000, OUT), x=normal(4000, IN), later=put(0, 0, None, 4000)
    ),
    "tokens below zero": lambda c: replace(c, later=put(0, 0, None, -1)),
    "more slots than there are": lambda c: replace(c, later=put(0, 1, None, SLOTS + 1)),
    "slots below zero": lambda c: replace(c, later=put(0, 1, None, -1)),
    "a slot that is not there": lambda c: replace(c, later=put(1, 2, 0, SLOTS)),
    "a slot below zero": lambda c: replace(c, later=put(1, 0, 0, -1)),
    "a slot twice": lambda c: replace(c, later=put(1, 1, 0, 0)),
    "a rank above the bank's": lambda c: replace(c, later=put(1, 0, 1, RANK + 1)),
    "a rank of zero": lambda c: replace(c, later=put(1, 0, 1, 0)),
    "pairs that begin behind others": lambda c: replace(c, later=put(1, 0, 2, 1)),
    "pairs that end before they begin": lambda c: replace(c, later=put(1, 1, 2, -1)),
    "more pairs than tokens": lambda c: replace(c, later=put(1, 3, 2, 10**6)),
    "a token that is not there": lambda c: replace(c, later=put(2, 3, None, 8)),
    "a token far away": lambda c: replace(c, later=put(2, 3, None, 2**31 - 1)),
    "a token below zero": lambda c: replace(c, later=put(2, 0, None, -1)),
    "tokens that do not ascend": lambda c: replace(c, later=put(2, 1, None, 0)),
}


@pytest.mark.parametrize("few", FEW)
@pytest.mark.parametrize("fault", BAD)
def test_a_bad_call_is_refused_before_anything_is_written(
    kernel: Kernel, fault: str, few: int
) -> None:
    call = BAD[fault](good(few=few))
    before = [t.clone() for t in call.tensors()]
    # Where a tensor is nowhere, torch may find no form of the operator at all.
    errors = (ValueError, NotImplementedError) if "nowhere" in fault else ValueError
    try:
        number = call.bind(kernel)
        before = [t.clone() for t in call.tensors()]
        kernel.apply(call.y, call.x, number)
    except errors:
        refused = True
    else:
        refused = False
    assert refused
    for now, then in zip(call.tensors(), before, strict=True):
        assert now.is_meta or torch.equal(now, then), fault


@pytest.mark.parametrize("few", FEW)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_good_call_is_taken(kernel: Kernel, dtype: torch.dtype, few: int) -> None:
    call = good(few=few, dtype=dtype)
    before = call.y.clone()
    call.run(kernel)
    assert not torch.equal(call.y, before)
    assert torch.equal(call.y[4], before[4]), "a row of the base model"


def test_column_ranges_of_one_matrix_do_not_overlap(kernel: Kernel) -> None:
    """As a compiler may lay out what is alive at once."""
    call = good()
    wide = torch.cat((call.y, call.x, call.y), dim=1)
    for begin_y, begin_x in ((0, OUT), (OUT + IN, OUT)):
        memory = wide.clone()
        y = memory[:, begin_y : begin_y + OUT]
        split = replace(call, y=y, x=memory[:, begin_x : begin_x + IN])
        apart = replace(call, y=call.y.clone())
        split.run(kernel)
        apart.run(kernel)
        assert torch.allclose(y, apart.y, atol=1e-5, rtol=1e-5)


@st.composite
def views(draw: Any, width: int) -> tuple[int, int, tuple[int, int]]:
    """Rows, offset and strides of a matrix of this width."""
    rows = draw(st.integers(0, 12))
    return (
        rows,
        draw(st.integers(0, 40)),
        (draw(st.integers(0, 2 * width)), draw(st.integers(0, 3))),
    )


@settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@example(of_y=(8, 0, (OUT, 1)), of_x=(8, 0, (IN, 1)), tokens=8, few=0, shared=False)
@example(of_y=(9, 3, (OUT + 2, 1)), of_x=(9, 1, (IN, 1)), tokens=6, few=9, shared=False)
@example(of_y=(6, 0, (OUT + IN, 1)), of_x=(6, OUT, (OUT + IN, 1)), tokens=6, few=0, shared=True)
@given(
    of_y=views(OUT),
    of_x=views(IN),
    tokens=st.integers(2, 10),
    few=st.sampled_from(FEW),
    shared=st.booleans(),
)
def test_any_shapes_and_strides_are_taken_right_or_refused(
    kernel: Kernel, of_y: Any, of_x: Any, tokens: int, few: int, shared: bool
) -> None:
    """Over the whole memory in which y and x lie: nothing else in it moves."""
    memory = normal(4000)
    other = memory if shared else normal(3999)
    y = memory.as_strided((of_y[0], OUT), of_y[2], of_y[1])
    x = other.as_strided((of_x[0], IN), of_x[2], of_x[1])
    call = replace(good(tokens, few), y=y, x=x)
    expected, start, input_before = memory.clone(), y.clone(), x.clone()
    try:
        call.run(kernel)
    except ValueError:
        assert torch.equal(memory, expected)
        return
    assert of_y[0] == of_x[0] >= tokens
    plain = replace(call, y=start, x=input_before)
    plain.run(PLAIN)
    expected.as_strided(y.shape, y.stride(), y.storage_offset()).copy_(plain.y)
    assert torch.allclose(memory, expected, atol=1e-4, rtol=1e-4)
    outside = torch.ones(4000, dtype=torch.bool)
    outside.as_strided(y.shape, y.stride(), y.storage_offset()).fill_(False)
    assert torch.equal(memory[outside], expected[outside])
