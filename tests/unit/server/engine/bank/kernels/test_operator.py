"""The compiled kernel, in each of its branches that this processor runs, and plain torch are one
operator: same rows, same bits where it matters."""

from dataclasses import dataclass

import pytest
import torch

from server.engine.bank.gates import gates_of
from server.engine.bank.kernels import operator
from server.engine.bank.kernels.build import branches_here
from server.engine.bank.step_gates import SlotGates, StepGates
from tests.support.kernels import Kernel, each_branch

SLOTS, RANK = 8, 32
RANKS = {0: 8, 1: 16, 2: 32, 3: 4, 4: 7, 5: 8, 6: 8, 7: 8}
SHAPES = [((576, 192, 192), 576), ((100,), 70), ((1536, 1536), 576), ((33, 65), 35)]
SKIP_PRODUCTS, ALWAYS_PRODUCTS = 10**6, 0


@pytest.fixture(params=branches_here())
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """The operator as the workers call it, compiled."""
    return each_branch(request)


@dataclass
class Module:
    a: list[torch.Tensor]
    b: list[torch.Tensor]
    slices: list[int]
    x: torch.Tensor
    y: torch.Tensor


def module(shape: tuple[tuple[int, ...], int], tokens: int, dtype: torch.dtype) -> Module:
    slices, size_in = shape
    generator = torch.Generator().manual_seed(tokens)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=generator)

    a = [normal(SLOTS, 1, RANK, size_in) * size_in**-0.5 for _ in slices]
    b = [normal(SLOTS, 1, RANK, size) / 5 for size in slices]
    for tensor in (*a, *b):
        for slot, rank in RANKS.items():
            tensor[slot, 0, rank:] = 0
    return Module(
        [t.to(dtype) for t in a],
        [t.to(dtype).transpose(2, 3) for t in b],
        list(slices),
        normal(tokens, size_in).to(dtype),
        normal(tokens, sum(slices)).to(dtype),
    )


def batch(tokens: int) -> tuple[StepGates, list[bool]]:
    """Requests of every rule and some of the base model; which rows are the base model's."""
    step = StepGates(512, SLOTS, "cpu")
    requests: list[SlotGates | None] = []
    lengths: list[int] = []
    rules = ("cat", "linear", None, "linear_peft04", "cat")
    while sum(lengths) < tokens:
        lengths.append(min(tokens - sum(lengths), max(1, tokens // 5)))
        rule = rules[(len(lengths) - 1) % 5]
        if rule is None:
            requests.append(None)
            continue
        slots = (0, 1, 2, 4) if rule == "cat" else (5, 6, 7)
        gates = gates_of(
            [0.4, 0.3, 0.2, 0.1][: len(slots)], [2.0, 2.0, 0.5, 1.0][: len(slots)], rule
        )
        requests.append(SlotGates(slots, gates.inner, gates.outer, gates.crossed))
    step.fill(requests, lengths, RANKS)
    base = [r is None for r, n in zip(requests, lengths, strict=True) for _ in range(n)]
    return step, base


def plain(m: Module, step: StepGates) -> torch.Tensor:
    y = m.y.clone()
    operator.gated_lora(y, m.x, operator.bind_module(m.a, m.b, m.slices, step.tensors, 0))
    return y


def compiled(kernel: Kernel, m: Module, step: StepGates, few: int) -> torch.Tensor:
    y = m.y.clone()
    kernel.apply(y, m.x, kernel.bind(m.a, m.b, m.slices, step.tensors, few))
    return y


@pytest.mark.parametrize("few", [SKIP_PRODUCTS, ALWAYS_PRODUCTS])
@pytest.mark.parametrize("tokens", [1, 3, 16, 70, 300])
@pytest.mark.parametrize("shape", SHAPES)
def test_fp32_equals_plain_torch(kernel, shape, tokens: int, few: int) -> None:
    m = module(shape, tokens, torch.float32)
    step, base = batch(tokens)
    got = compiled(kernel, m, step, few)
    assert torch.allclose(got, plain(m, step), atol=2e-5, rtol=1e-5)
    assert torch.equal(got[base], m.y[base]), "base rows must not move by one bit"
    assert all(base) or not torch.equal(got, m.y)


@pytest.mark.parametrize("few", [SKIP_PRODUCTS, ALWAYS_PRODUCTS])
@pytest.mark.parametrize("tokens", [1, 5, 16, 70, 300])
@pytest.mark.parametrize("shape", SHAPES)
def test_bf16_is_within_its_rounding(kernel, shape, tokens: int, few: int) -> None:
    m = module(shape, tokens, torch.bfloat16)
    step, base = batch(tokens)
    got, expected = compiled(kernel, m, step, few), plain(m, step)
    # One unit in the last place of bf16 is 2⁻⁸ of the value; the products round z as well.
    assert ((got - expected).abs() <= 0.02 * expected.abs().clamp(min=1)).all()
    assert torch.equal(got[base], m.y[base])


@pytest.mark.parametrize("few", [SKIP_PRODUCTS, ALWAYS_PRODUCTS])
def test_slots_out_of_use_are_never_read(kernel, few: int) -> None:
    m = module(SHAPES[1], 6, torch.float32)
    step = StepGates(16, SLOTS, "cpu")
    step.fill([SlotGates((1,), (1.0,), (1.0,), crossed=False)], [6], RANKS)
    clean = compiled(kernel, m, step, few)
    for tensor in (*m.a, *m.b):
        tensor[[0, 2, 3, 4, 5, 6, 7]] = float("nan")
    assert torch.equal(compiled(kernel, m, step, few), clean)
    assert not clean.isnan().any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("few", [SKIP_PRODUCTS, ALWAYS_PRODUCTS])
def test_a_request_that_overflows_spoils_no_other(kernel, few: int, dtype: torch.dtype) -> None:
    """Their tokens share products in prefill, where 0 × infinity would be no number."""
    m = module(SHAPES[0], 40, dtype)
    m.a[0][1] = 1e38
    step = StepGates(64, SLOTS, "cpu")
    others = SlotGates((2,), (1.0,), (1.0,), crossed=False)
    step.fill([SlotGates((1,), (1.0,), (1.0,), crossed=False), others, None], [20, 15, 5], RANKS)
    got = compiled(kernel, m, step, few)
    assert not got[:20].isfinite().all(), "the case is that of an overflow"
    assert got[20:].isfinite().all()
    assert torch.equal(got[35:], m.y[35:])
    assert plain(m, step)[20:].isfinite().all()


def test_no_gates_is_no_work(kernel) -> None:
    m = module(SHAPES[2], 4, torch.float32)
    step = StepGates(16, SLOTS, "cpu")
    step.clear()
    assert torch.equal(compiled(kernel, m, step, SKIP_PRODUCTS), m.y)


@dataclass
class Prefill:
    """One bound module, so that what it keeps between its calls is under test."""

    m: Module
    step: StepGates
    number: int
    kernel: Kernel

    def run(self, lengths: dict[tuple[int, ...], int]) -> torch.Tensor:
        """Requests that mix the slots named, each of so many tokens, one after another."""
        requests = [SlotGates(s, (0.7,) * len(s), (1.0,) * len(s), crossed=False) for s in lengths]
        self.step.fill(requests, list(lengths.values()), RANKS)
        y = self.m.y.clone()
        self.kernel.apply(y, self.m.x, self.number)
        return y


def prefill(kernel: Kernel, tokens: int = 128, dtype: torch.dtype = torch.bfloat16) -> Prefill:
    m = module(SHAPES[0], tokens, dtype)
    step = StepGates(512, SLOTS, "cpu")
    number = kernel.bind(m.a, m.b, m.slices, step.tensors, ALWAYS_PRODUCTS)
    return Prefill(m, step, number, kernel)


def load(m: Module, slot: int, seed: int) -> None:
    """Write an adapter as vLLM does: clear the slot, then copy into slices of it."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in (*m.a, *m.b):
        tensor[slot] = 0
    for a, b in zip(m.a, m.b, strict=True):
        rank = RANKS[slot]
        a[slot, 0, :rank].copy_(torch.randn(rank, a.shape[3], generator=generator) / 24)
        b[slot, 0, :, :rank].copy_(torch.randn(b.shape[2], rank, generator=generator) / 5)


@pytest.mark.parametrize("inference", [False, True])
def test_prefill_sees_every_write_to_a_slot(kernel, inference: bool) -> None:
    bank, mixture = prefill(kernel), {(0, 1, 2): 128}
    with torch.inference_mode(inference):
        load(bank.m, 1, seed=1)
        first = bank.run(mixture)
        load(bank.m, 1, seed=2)
        second = bank.run(mixture)
        load(bank.m, 1, seed=1)
        assert torch.equal(bank.run(mixture), first)
    assert not torch.equal(first, second)
    fresh = prefill(kernel)
    load(fresh.m, 1, seed=2)
    assert torch.equal(second, fresh.run(mixture))


@pytest.mark.parametrize("only", ["a", "b"])
def test_prefill_sees_a_slot_that_was_cleared(kernel, only: str) -> None:
    bank = prefill(kernel)
    assert not torch.equal(bank.run({(3,): 128}), bank.m.y)
    getattr(bank.m, only)[0][3] = 0
    got, size = bank.run({(3,): 128}), bank.m.slices[0]
    assert torch.equal(got[:, :size], bank.m.y[:, :size])
    assert not torch.equal(got[:, size:], bank.m.y[:, size:])


def test_weights_that_count_no_writes_are_never_kept(kernel) -> None:
    with torch.inference_mode():
        bank = prefill(kernel)
    before = bank.run({(3,): 128})
    with torch.inference_mode():
        load(bank.m, 3, seed=1)
    assert not torch.equal(bank.run({(3,): 128}), before)


def test_two_banks_keep_their_own(kernel) -> None:
    one, other = prefill(kernel), prefill(kernel)
    load(other.m, 1, seed=1)
    first, second = one.run({(1,): 128}), other.run({(1,): 128})
    assert not torch.equal(first, second)
    assert torch.equal(one.run({(1,): 128}), first)
    load(one.m, 1, seed=1)
    assert torch.equal(one.run({(1,): 128}), second)
    assert torch.equal(other.run({(1,): 128}), second)


def test_prefill_after_other_slots_is_as_without_them(kernel) -> None:
    """Slots come into use one by one, beyond what goes through one product."""
    bank = prefill(kernel)
    for slot in (2, 0, 1, 4, 3, 5, 6, 7, 2):
        got = bank.run({(slot,): 128})
        expected = prefill(kernel).run({(slot,): 128})
        assert torch.allclose(got.float(), expected.float(), atol=0.02, rtol=0.01), slot
    got, m = bank.run({(2, 5): 60, (0, 4, 7): 68}), bank.m
    y = m.y.clone()
    operator.gated_lora(
        y, m.x, operator.bind_module(m.a, m.b, m.slices, bank.step.tensors, ALWAYS_PRODUCTS)
    )
    assert ((got - y).abs() <= 0.02 * y.abs().clamp(min=1)).all()


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_slot_between_two_in_use_spoils_neither(kernel, value: float, dtype) -> None:
    """It lies beside them in one form or another: a product that took it along is no number."""
    bank, clean = prefill(kernel, dtype=dtype), prefill(kernel, dtype=dtype)
    for tensor in (*bank.m.a, *bank.m.b):
        tensor[1] = value
    lengths = {(0, 5): 64, (0, 1, 5): 64}
    got, expected = bank.run(lengths), clean.run(lengths)
    assert not got[64:].isfinite().all(), "the case is that of a slot which is no number"
    assert torch.allclose(got[:64].float(), expected[:64].float(), atol=0.02, rtol=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_do_not_depend_on_the_batch(kernel: Kernel, shape, dtype: torch.dtype) -> None:
    """Bit for bit: a token alone, among others, and in a prefill of them all."""
    if kernel.name != "avx2":
        pytest.skip("the promise of this branch alone: elsewhere prefill goes through libraries")
    tokens = 70
    m = module(shape, tokens, dtype)
    step, base = batch(tokens)
    together = compiled(kernel, m, step, ALWAYS_PRODUCTS)
    assert torch.equal(compiled(kernel, m, step, SKIP_PRODUCTS), together)
    gates = step.tensors[3].clone(), step.tensors[4].clone(), step.tensors[5].clone()
    for token in range(0, tokens, 3):
        slots = tuple(gates[0][token].nonzero().flatten().tolist())
        alone = StepGates(512, SLOTS, "cpu")
        inner, outer = (tuple(part[token, list(slots)].tolist()) for part in gates[:2])
        row = SlotGates(slots, inner, outer, bool(gates[2][token])) if slots else None
        alone.fill([row], [1], RANKS)
        one = Module(m.a, m.b, m.slices, m.x[token : token + 1], m.y[token : token + 1])
        for few in (SKIP_PRODUCTS, ALWAYS_PRODUCTS):
            got = compiled(kernel, one, alone, few)
            assert torch.equal(got[0], together[token]), (token, few, base[token])


@pytest.mark.parametrize("few", [SKIP_PRODUCTS, ALWAYS_PRODUCTS])
def test_decoding_rows_do_not_depend_on_the_batch(kernel: Kernel, few: int) -> None:
    """Every branch: the rows of a step are what each row is alone, in the same way."""
    if few == ALWAYS_PRODUCTS and kernel.name != "avx2":
        pytest.skip("products of libraries may sum otherwise for fewer rows")
    m = module(SHAPES[0], 9, torch.float32)
    gate = SlotGates((0, 1, 4), (0.5, 0.3, 0.2), (1.0, 1.0, 1.0), crossed=False)
    step = StepGates(16, SLOTS, "cpu")
    step.fill([gate], [9], RANKS)
    together = compiled(kernel, m, step, few)
    for count in range(1, 9):
        step.fill([gate], [count], RANKS)
        part = Module(m.a, m.b, m.slices, m.x[:count], m.y[:count])
        assert torch.equal(compiled(kernel, part, step, few), together[:count]), count


@pytest.mark.parametrize("few", [SKIP_PRODUCTS, ALWAYS_PRODUCTS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_slot_that_an_adapter_lies_in_moves_no_bit(
    kernel: Kernel, shape, dtype: torch.dtype, few: int
) -> None:
    """Whatever lies in the others, and lay in this one before."""
    m, own = module(shape, 40, dtype), module(shape, 40, dtype)
    rank, rows = RANKS[4], []
    for seed, slot in enumerate((4, 0, 7, 3, 4, 1)):
        generator = torch.Generator().manual_seed(seed)
        for tensor, kept in zip((*m.a, *m.b), (*own.a, *own.b), strict=True):
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
            tensor[slot] = kept[4]
        step = StepGates(64, SLOTS, "cpu")
        gates = SlotGates((slot,), (0.7,), (1.0,), crossed=False)
        step.fill([None, gates], [10, 30], {slot: rank})
        rows.append(compiled(kernel, m, step, few))
    assert not torch.equal(rows[0], m.y)
    assert all(torch.equal(each, rows[0]) for each in rows[1:])


def test_rows_beyond_the_step_are_left_alone(kernel: Kernel) -> None:
    m = module(SHAPES[1], 12, torch.float32)
    step = StepGates(8, SLOTS, "cpu")
    step.fill([SlotGates((1,), (1.0,), (1.0,), crossed=False)], [5], RANKS)
    for few in (SKIP_PRODUCTS, ALWAYS_PRODUCTS):
        got = compiled(kernel, m, step, few)
        assert torch.allclose(got, plain(m, step), atol=2e-5, rtol=1e-5)
        assert torch.equal(got[5:], m.y[5:])


@pytest.mark.parametrize("few", [SKIP_PRODUCTS, ALWAYS_PRODUCTS])
def test_an_input_of_any_strides_is_read_as_it_is(kernel: Kernel, few: int) -> None:
    m = module(SHAPES[0], 40, torch.float32)
    step, _ = batch(40)
    expected = compiled(kernel, m, step, few)
    wide = torch.zeros(40, 2 * m.x.shape[1])
    wide[:, ::2] = m.x
    for x in (m.x.t().contiguous().t(), wide[:, ::2]):
        assert not x.is_contiguous()
        got = compiled(kernel, Module(m.a, m.b, m.slices, x, m.y), step, few)
        assert torch.equal(got, expected)
    same = Module(m.a, m.b, m.slices, m.x[:1].expand(40, -1), m.y)
    copied = Module(m.a, m.b, m.slices, m.x[:1].repeat(40, 1), m.y)
    assert torch.equal(compiled(kernel, same, step, few), compiled(kernel, copied, step, few))
