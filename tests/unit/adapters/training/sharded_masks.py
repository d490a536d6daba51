"""Two processes that train a masked layer under FSDP; test_lori_sharded.py starts them."""

import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed, multiprocessing, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn import functional

from adapters.training.methods.lori.masked_linear import MaskedLinear

PROCESSES, STEPS, PARTS = 2, 3, 2
OUT, IN = 6, 4


def layer() -> tuple[MaskedLinear, torch.Tensor]:
    """The layer with B = 0, and its mask."""
    generator = torch.Generator().manual_seed(0)
    linear = nn.Linear(IN, OUT, bias=False)
    nn.init.zeros_(linear.weight)
    mask = torch.rand(OUT, IN, generator=generator) < 0.5
    return MaskedLinear(linear, mask), mask


def inputs(step: int, part: int, process: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What one process sees in one part of a step."""
    generator = torch.Generator().manual_seed(100 * step + 10 * part + process)
    return torch.randn(3, IN, generator=generator), torch.randn(3, OUT, generator=generator)


def step(module: nn.Module, optimizer: torch.optim.Optimizer, shares: list[list[tuple]]) -> None:
    """One optimiser step over micro-batches, each shared out; gradients clipped together."""
    for share in shares:
        loss = sum(functional.mse_loss(module(x), y) for x, y in share) / len(share)
        (loss / len(shares)).backward()
    nn.utils.clip_grad_norm_(module.parameters(), 0.1)
    optimizer.step()
    optimizer.zero_grad()


def alone() -> torch.Tensor:
    """The weight after training in one process."""
    module, _ = layer()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, weight_decay=0)
    for number in range(STEPS):
        shares = [
            [inputs(number, part, process) for process in range(PROCESSES)] for part in range(PARTS)
        ]
        step(module, optimizer, shares)
    return module.weight.detach()


def together(process: int, folder: str) -> None:
    """What one of the processes does; the first writes the weight."""
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=process,
        world_size=PROCESSES,
        timeout=timedelta(seconds=120),
    )
    module, _ = layer()
    fully_shard(module, mesh=init_device_mesh("cpu", (PROCESSES,)))
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, weight_decay=0)
    for number in range(STEPS):
        step(module, optimizer, [[inputs(number, part, process)] for part in range(PARTS)])
    assert isinstance(module.weight, DTensor)
    whole = module.weight.full_tensor()
    if process == 0:
        torch.save(whole.detach(), Path(folder) / "weight.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    multiprocessing.spawn(together, args=(sys.argv[1],), nprocs=PROCESSES)
