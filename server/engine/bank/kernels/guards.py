"""What the operator refuses, for its form in plain torch; the compiled one says it in ``guards.h``.

Every check is a ValueError, raised before anything is written.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch

TYPES = (torch.float32, torch.bfloat16, torch.float16)
STEP_PARTS = 6


def check_bank(
    a: Sequence[torch.Tensor],
    b: Sequence[torch.Tensor],
    slices: Sequence[int],
    step: Sequence[torch.Tensor],
) -> None:
    """Refuse a module that the bank cannot hold.

    Args:
        a: per slice [slots, 1, max_rank, in].
        b: per slice [slots, 1, slice, max_rank], a slot's outputs contiguous.
        slices: outputs of each.
        step: the step's buffers.

    Raises:
        ValueError: it says which tensor, and what is wrong with it.
    """
    _need(
        len(a) == len(b) == len(slices) > 0,
        f"a module has as many A as B and slices, and at least one: not {len(a)}, {len(b)} "
        f"and {len(slices)}",
    )
    first = a[0]
    _need(first.dtype in TYPES, f"weights are float32, bfloat16 or float16, not {first.dtype}")
    _need(
        first.dim() == 4 and first.shape[1] == 1 and first.numel() > 0,
        f"A is [slots, 1, rank, in], not {list(first.shape)}",
    )
    slots, _, rank, size_in = first.shape
    for one_a, one_b, size in zip(a, b, slices, strict=True):
        _need(0 < size < 2**31, f"a slice has {size} outputs")
        _check_slots("A", one_a, (slots, 1, rank, size_in), first)
        _check_slots("B", one_b, (slots, 1, size, rank), first)
        _check_rows("A", one_a)
        _check_rows("B", one_b.transpose(2, 3))
    _check_buffers(step, slots, first.device)


def check_call(
    y: torch.Tensor,
    x: torch.Tensor,
    bank: tuple[Sequence[torch.Tensor], Sequence[torch.Tensor], Sequence[int]],
    step: Sequence[torch.Tensor],
) -> None:
    """Refuse a call whose tensors do not fit the module, the step, or each other.

    Args:
        y: what is added to.
        x: the module's input.
        bank: A, B and slices, as :func:`check_bank` took them.
        step: the step's buffers.

    Raises:
        ValueError: it says which, and what is wrong with it.
    """
    a, b, slices = bank
    for name, tensor in (("y", y), ("x", x)):
        _need(tensor.layout == torch.strided, f"{name} is not a plain (strided) tensor")
        _need(
            tensor.device == a[0].device,
            f"{name} is on {tensor.device}, the bank on {a[0].device}",
        )
        _need(tensor.dim() == 2, f"{name} is no matrix but {list(tensor.shape)}")
        _need(tensor.dtype == a[0].dtype, f"{name} holds {tensor.dtype}; the bank {a[0].dtype}")
    _need(
        x.shape[1] == a[0].shape[3],
        f"x has {x.shape[1]} columns, the module {a[0].shape[3]} inputs",
    )
    outputs = sum(slices)
    _need(y.shape[1] == outputs, f"y has {y.shape[1]} columns, the module {outputs} outputs")
    _need(y.shape[0] == x.shape[0], f"y has {y.shape[0]} rows, x {x.shape[0]}")
    _need(outputs == 1 or y.stride(1) == 1, "y does not have its rows contiguous")
    _need(y.shape[0] <= 1 or y.stride(0) >= outputs, "y has rows that overlap")
    _check_step(step, a[0].shape[2])
    tokens = int(step[0][0])
    _need(tokens <= x.shape[0], f"the step has {tokens} tokens, x {x.shape[0]} rows")
    whole = _extent(y)
    _need(not _meet(whole, _extent(x)) or _side_by_side(y, x), "y and x share memory")
    for tensor in (*a, *b, *step):
        _need(not _meet(whole, _extent(tensor)), "y shares memory with the bank")


def _need(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _check_slots(
    name: str, tensor: torch.Tensor, shape: tuple[int, ...], like: torch.Tensor
) -> None:
    _need(tensor.layout == torch.strided, f"{name} is not a plain (strided) tensor")
    _need(tensor.device == like.device, f"{name} is on {tensor.device}, not on {like.device}")
    _need(
        tensor.dtype == like.dtype,
        f"{name} holds {tensor.dtype}, the first weights {like.dtype}",
    )
    _need(tensor.shape == shape, f"{name} has the shape {list(tensor.shape)}, not {list(shape)}")


def _check_rows(name: str, tensor: torch.Tensor) -> None:
    """Slots [slots, 1, rows, row], each row contiguous and the rows of a slot side by side."""
    slots, _, rows, row = tensor.shape
    _need(row == 1 or tensor.stride(3) == 1, f"{name} does not have its rows contiguous")
    _need(
        rows == 1 or tensor.stride(2) == row,
        f"{name} does not have the rows of a slot side by side",
    )
    _need(slots == 1 or tensor.stride(0) >= rows * row, f"{name} has slots that overlap")


def _check_buffers(step: Sequence[torch.Tensor], slots: int, device: torch.device) -> None:
    _need(len(step) == STEP_PARTS, f"a step has {STEP_PARTS} buffers, not {len(step)}")
    _need(step[3].dim() == 2, "the step's inner gates are no matrix")
    tokens = step[3].shape[0]
    wanted = (
        ("header", torch.int32, (2,)),
        ("slots", torch.int32, (slots + 1, 3)),
        ("tokens", torch.int32, (slots * tokens,)),
        ("inner gates", torch.float32, (tokens, slots)),
        ("outer gates", torch.float32, (tokens, slots)),
        ("crossed flags", torch.uint8, (tokens,)),
    )
    for part, (name, dtype, shape) in zip(step, wanted, strict=True):
        _need(part.device == device, f"the step's {name} are on {part.device}, not on {device}")
        _need(part.dtype == dtype, f"the step's {name} hold {part.dtype}, not {dtype}")
        _need(
            part.shape == shape and part.is_contiguous(),
            f"the step's {name} have the shape {list(part.shape)}, not {list(shape)}, or are not "
            "contiguous",
        )


def _check_step(step: Sequence[torch.Tensor], max_rank: int) -> None:
    """The step's own numbers: whatever they say is followed without another look."""
    tokens, used = step[0].tolist()
    max_tokens, slots = step[3].shape
    _need(0 <= tokens <= max_tokens, f"the step has {tokens} tokens; its buffers hold {max_tokens}")
    _need(0 <= used <= slots, f"the step uses {used} slots of {slots}")
    rows = step[1][: used + 1].tolist()
    before, first = -1, 0
    for (slot, rank, begin), (_, _, end) in pairwise(rows):
        _need(before < slot < slots, f"the step uses slot {slot} after {before}, of {slots}")
        _need(0 < rank <= max_rank, f"slot {slot} has the rank {rank}; the bank's is {max_rank}")
        _need(
            begin == first and begin <= end <= begin + tokens,
            f"slot {slot} has the pairs from {begin} to {end} of {tokens} tokens",
        )
        named = step[2][begin:end]
        ascends = bool((named[1:] > named[:-1]).all()) if end > begin else True
        within = end == begin or (int(named[0]) >= 0 and int(named[-1]) < tokens)
        _need(ascends and within, f"the tokens of slot {slot} do not ascend below {tokens}")
        before, first = slot, end


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """The addresses from a tensor's first byte to behind its last."""
    begin = tensor.data_ptr()
    if tensor.numel() == 0:
        return begin, begin
    last = sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    return begin, begin + (last + 1) * tensor.element_size()


def _meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _side_by_side(y: torch.Tensor, x: torch.Tensor) -> bool:
    """Whether they are column ranges of one matrix, which share no element but interleave."""
    if y.stride(0) != x.stride(0) or y.stride(1) != 1 or x.stride(1) != 1 or y.stride(0) <= 0:
        return False
    row = y.stride(0) * y.element_size()
    shift = (x.data_ptr() - y.data_ptr()) % row
    return shift >= y.shape[1] * y.element_size() and shift + x.shape[1] * x.element_size() <= row
