"""The branches of the bank's kernel beside each other: ``python -m benchmarks.kernel_branches``.

CPU milliseconds that one engine step spends in the bank, all 120 modules of the default model, on
one thread. Every branch that this processor runs is called in turn within a repeat; the least over
the repeats counts, since whatever else runs can only add. "scalar" is also what the kernel was for
processors with AVX2 alone before it had a branch for them: loops that the compiler vectorises, and
for prefill two products of torch's a module.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks import machine
from benchmarks.engine.cases import ROWS
from server.engine.bank.bound_layer import FEW_TOKENS
from server.engine.bank.kernels import operator
from server.engine.bank.kernels.build import branches_here, build, library_of
from server.engine.bank.step_gates import SlotGates, StepGates
from server.prepare import cache_dir

RESULTS = Path(__file__).parent / "results" / "kernel_branches.md"
LAYERS, SLOTS, RANK = 30, 8, 16
SHAPES = (((576, 192, 192), 576), ((576,), 576), ((1536, 1536), 576), ((576,), 1536))
FEWEST_REPEATS = 3


@dataclass(frozen=True)
class Load:
    """A step: requests with the mixtures of a row of ``make bench``, each of so many tokens."""

    title: str
    row: str
    requests: int
    tokens: int

    def fill(self, step: StepGates) -> None:
        """Set the gates of such a step."""
        mixtures = next(row.mixtures for row in ROWS if self.row in row.title) or []
        gates = []
        for number in range(self.requests):
            weights = mixtures[number % len(mixtures)]
            members = [slot for slot, weight in enumerate(weights) if weight]
            inner = tuple(weights[slot] for slot in members)
            gates.append(SlotGates(tuple(members), inner, (1.0,) * len(members), crossed=False))
        ranks = dict.fromkeys(range(SLOTS), RANK)
        step.fill(gates, [self.tokens] * self.requests, ranks)


LOADS = (
    Load("decode 1, four adapters", "eight distinct", 1, 1),
    Load("decode 8, four adapters", "eight distinct", 8, 1),
    Load("decode 8, eight adapters", "over eight", 8, 1),
    Load("decode 16, eight adapters", "over eight", 16, 1),
    Load("prefill 32, four adapters", "eight distinct", 1, 32),
    Load("prefill 512, four adapters", "eight distinct", 1, 512),
    Load("prefill 4 × 128, one adapter each", "Loralloy, four adapters", 4, 128),
)


@dataclass(frozen=True)
class Module:
    """A layer's weights and slices."""

    a: list[torch.Tensor]
    b: list[torch.Tensor]
    slices: list[int]

    @classmethod
    def random(cls, slices: Sequence[int], size_in: int, dtype: torch.dtype) -> "Module":
        """A layer with something in each slot."""
        a = [(torch.randn(SLOTS, 1, RANK, size_in) * size_in**-0.5).to(dtype) for _ in slices]
        b = [torch.randn(SLOTS, 1, RANK, size).to(dtype).transpose(2, 3) for size in slices]
        return cls(a, b, list(slices))


def measure(dtype: torch.dtype, branches: dict[str, Any], repeats: int) -> dict[str, list[float]]:
    """By branch: CPU milliseconds a step, one number a load."""
    step = StepGates(512, SLOTS, "cpu")
    modules = [
        Module.random(slices, size_in, dtype) for _ in range(LAYERS) for slices, size_in in SHAPES
    ]
    numbers = {
        name: [branch.bind_module(m.a, m.b, m.slices, step.tensors, FEW_TOKENS) for m in modules]
        for name, branch in branches.items()
    }
    found: dict[str, list[float]] = {name: [] for name in branches}
    for load in LOADS:
        load.fill(step)
        tokens = load.requests * load.tokens
        inputs = {size_in: torch.randn(tokens, size_in).to(dtype) for _, size_in in SHAPES}
        outputs = [torch.zeros(tokens, sum(slices)).to(dtype) for slices, _ in SHAPES]
        taken: dict[str, list[float]] = {name: [] for name in branches}
        for _ in range(repeats if tokens < RANK * RANK else FEWEST_REPEATS):
            for name, branch in branches.items():
                begin = time.thread_time()
                for place, number in enumerate(numbers[name]):
                    shape = place % len(SHAPES)
                    branch.gated_lora(outputs[shape], inputs[SHAPES[shape][1]], number)
                taken[name].append(1e3 * (time.thread_time() - begin))
        for name, times in taken.items():
            found[name].append(min(times))
    return found


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="of each load but the largest")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    branches: dict[str, Any] = {}
    for branch in branches_here():
        path = build(cache_dir() / "kernels", branch)
        if path is None:
            raise SystemExit("no C++ compiler: there are no branches to compare")
        branches[branch] = operator.load_branch(path, library_of(branch))
    lines = [
        "# Branches of the bank's kernel",
        "",
        f"`python -m benchmarks.kernel_branches`, {machine.described()}. CPU milliseconds that a "
        f"step spends in the bank: {LAYERS * len(SHAPES)} modules of the default model, rank "
        f"{RANK}, one thread, the least of {FEWEST_REPEATS} to {options.repeats} in turn.",
        "",
        "| dtype | step | " + " | ".join(branches) + " |",
        "|---|---|" + "---|" * len(branches),
    ]
    for dtype in (torch.float32, torch.bfloat16):
        found = measure(dtype, branches, options.repeats)
        for place, load in enumerate(LOADS):
            cells = [f"{found[name][place]:.1f}" for name in branches]
            title = str(dtype).removeprefix("torch.")
            lines.append(f"| {title} | {load.title} | " + " | ".join(cells) + " |")
    report = "\n".join(lines) + "\n"
    Console(width=120).print(report)
    options.out.write_text(report)


if __name__ == "__main__":
    main()
