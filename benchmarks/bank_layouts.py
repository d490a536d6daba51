"""How to lay out the bank's B, and how to run it: CPU microseconds of one module on one thread.

``python -m benchmarks.bank_layouts`` compares, for K slots of rank r in use:

    out×Kr, mm     B as one contiguous [out, K·r] matrix, two matrix products
    Kr×out, mm     B stored [K, r, out], gathered to [K·r, out], two matrix products
    per slot       vLLM's own [K, out, r], one product pair a slot
    kernel         B stored [K, r, out], the compiled kernel, (slot, token) pairs only

Every way is timed in turn within a repeat; the median over repeats counts.
"""

import time
from collections.abc import Callable
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from server.engine.bank.kernels import operator
from server.engine.bank.kernels.build import build
from server.engine.bank.step_gates import SlotGates, StepGates
from server.prepare import cache_dir

SLOTS, RANK = 4, 16
SHAPES = ((576, 960), (576, 3072), (1536, 576))
TOKENS = (1, 8, 16, 32, 64, 128, 512)
REPEATS, CALLS = 15, 20
ALWAYS_KERNEL = 10**6

Way = Callable[[torch.Tensor, torch.Tensor], None]


def ways(size_in: int, size_out: int, tokens: int, dtype: torch.dtype) -> dict[str, Way]:
    """Every way to add a mixture of all slots, on the same weights."""
    a = (torch.randn(SLOTS, 1, RANK, size_in) * size_in**-0.5).to(dtype)
    stored = torch.randn(SLOTS, 1, RANK, size_out).to(dtype)
    weights = (0.4, 0.3, 0.2, 0.1)
    gates = torch.tensor(weights).repeat_interleave(RANK).to(dtype)
    flat_a = a.reshape(SLOTS * RANK, size_in)
    out_first = stored.permute(3, 0, 1, 2).reshape(size_out, SLOTS * RANK).contiguous()
    native = stored.transpose(2, 3).contiguous()
    step = StepGates(max(TOKENS), SLOTS, "cpu")
    mixture = SlotGates(tuple(range(SLOTS)), weights, (1.0,) * SLOTS, crossed=False)
    step.fill([mixture], [tokens], dict.fromkeys(range(SLOTS), RANK))
    number = torch.ops.loralloy.bind_module(
        [a], [stored.transpose(2, 3)], [size_out], step.tensors, ALWAYS_KERNEL
    )

    def per_slot(y: torch.Tensor, x: torch.Tensor) -> None:
        for slot, weight in enumerate(weights):
            y.addmm_(x @ a[slot, 0].T, native[slot, 0].T, alpha=weight)

    def gathered(y: torch.Tensor, x: torch.Tensor) -> None:
        rows = torch.cat([stored[slot, 0] for slot in range(SLOTS)])
        y.addmm_((x @ flat_a.T) * gates, rows)

    return {
        "out×Kr, mm": lambda y, x: y.addmm_((x @ flat_a.T) * gates, out_first.T),
        "Kr×out, mm": gathered,
        "per slot": per_slot,
        "kernel": lambda y, x: torch.ops.loralloy.gated_lora(y, x, number),
    }


def microseconds(size_in: int, size_out: int, tokens: int, dtype: torch.dtype) -> dict[str, float]:
    """Median time of one call, by way."""
    found = ways(size_in, size_out, tokens, dtype)
    x, y = torch.randn(tokens, size_in).to(dtype), torch.zeros(tokens, size_out).to(dtype)
    taken: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(REPEATS):
        for name, run in found.items():
            begin = time.thread_time()
            for _ in range(CALLS):
                run(y, x)
            taken[name].append(1e6 * (time.thread_time() - begin) / CALLS)
    return {name: median(times) for name, times in taken.items()}


def main() -> None:
    """Print one table a dtype."""
    torch.set_num_threads(1)
    operator.install(build(cache_dir() / "kernels"))
    for dtype in (torch.bfloat16, torch.float32):
        table = Table(title=f"{dtype}, K={SLOTS}, r={RANK}, microseconds a module, one thread")
        rows = [
            (f"{i}→{o}", tokens, microseconds(i, o, tokens, dtype))
            for i, o in SHAPES
            for tokens in TOKENS
        ]
        for heading in ("module", "tokens", *rows[0][2]):
            table.add_column(heading, justify="right")
        for module, tokens, times in rows:
            table.add_row(module, str(tokens), *(f"{value:.0f}" for value in times.values()))
        Console(width=100).print(table)


if __name__ == "__main__":
    main()
