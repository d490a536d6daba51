"""The operator ``loralloy::gated_lora``: one call applies a step's mixtures to one module.

Layers are bound once (their stacked weights, the step's buffers) and called by number: the graph
that torch.compile traces then holds one small opaque call a layer, instead of dozens of tensors.
The compiled kernel implements it; without one plain torch does. Both refuse the same calls, with a
ValueError before anything is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from server.engine.bank.gates import bank_update
from server.engine.bank.kernels.guards import check_bank, check_call

SCHEMAS = (
    "gated_lora(Tensor(a!) y, Tensor x, int module) -> ()",
    "bind_module(Tensor[] a, Tensor[] b, int[] slices, Tensor[] step, int few) -> int",
)

_library = torch.library.Library("loralloy", "DEF")
for _schema in SCHEMAS:
    _library.define(_schema)
_kernel: list[Path] = []
_beside: list[torch.library.Library] = []


@dataclass(frozen=True, slots=True)
class BoundModule:
    """What a layer owns: per slice A [slots, 1, max_rank, in] and B [slots, 1, slice, max_rank]."""

    a: Sequence[torch.Tensor]
    b: Sequence[torch.Tensor]
    slices: Sequence[int]
    step: Sequence[torch.Tensor]


_modules: list[BoundModule] = []


def bind_module(
    a: list[torch.Tensor],
    b: list[torch.Tensor],
    slices: list[int],
    step: list[torch.Tensor],
    few: int,
) -> int:
    """Bind a layer and give its number, for the form in plain torch.

    Args:
        a: per slice [slots, 1, max_rank, in].
        b: per slice [slots, 1, slice, max_rank].
        slices: sizes of the outputs that share the layer (q, k, v; gate, up; or one).
        step: the step's gates (``server.engine.bank.step_gates.StepGates.tensors``).
        few: tokens per slot up to which the compiled kernel skips the matrix products; no meaning
            here.

    Raises:
        ValueError: the bank cannot hold such a layer.
    """
    check_bank(a, b, slices, step)
    if few < 0:
        raise ValueError(f"the kernel cannot take {few} tokens a slot")
    _modules.append(BoundModule(a, b, slices, step))
    return len(_modules) - 1


def gated_lora(y: torch.Tensor, x: torch.Tensor, module: int) -> None:
    """Add each token's mixture to ``y``, in plain torch.

    Args:
        y: [T, Σ slices], changed in place; rows of tokens without gates are left as they are, and
            so are rows beyond the step's tokens.
        x: [T, in].
        module: the layer's number.

    Raises:
        ValueError: y, x, the step and the module do not fit each other.
    """
    if not 0 <= module < len(_modules):
        raise ValueError(f"there is no module {module}")
    bound = _modules[module]
    check_bank(bound.a, bound.b, bound.slices, bound.step)
    check_call(y, x, (bound.a, bound.b, bound.slices), bound.step)
    header, slots, _tokens, inner, outer, crossed = bound.step
    count, used = header.tolist()
    if used == 0 or count == 0:
        return
    ids = slots[:used, 0].long()
    y, x = y[:count], x[:count]
    gates = (inner[:count, ids], outer[:count, ids], crossed[:count].bool())
    touched = gates[0].ne(0).any(dim=1, keepdim=True)
    offset = 0
    for bank_a, bank_b, size in zip(bound.a, bound.b, bound.slices, strict=True):
        update = bank_update(x, bank_a[ids, 0], bank_b[ids, 0].transpose(1, 2), gates)
        part = y[:, offset : offset + size]
        part.copy_(torch.where(touched, part.float() + update, part.float()))
        offset += size


def install(kernel: Path | None) -> None:
    """Bind the operator to the compiled kernel, or to plain torch if there is none."""
    if kernel is None:
        _library.impl("gated_lora", gated_lora, "CPU")
        _library.impl("bind_module", bind_module, "CPU")
    else:
        torch.ops.load_library(str(kernel))
        _kernel.append(kernel)


def load_branch(kernel: Path, library: str) -> Any:
    """Load a kernel into an operator library of its own, beside the one that serves.

    For tests and benchmarks, which compare branches in one process.

    Args:
        kernel: compiled for that library (``build(folder, branch)``).
        library: its name, as ``library_of(branch)`` gives it.

    Returns:
        What holds its operators ``bind_module`` and ``gated_lora``.
    """
    beside = torch.library.Library(library, "DEF")
    for schema in SCHEMAS:
        beside.define(schema)
    _beside.append(beside)  # what it defines goes when it goes
    torch.ops.load_library(str(kernel))
    return getattr(torch.ops, library)


def installed_kernel() -> Path | None:
    """The compiled kernel in use, or None when plain torch is."""
    return _kernel[0] if _kernel else None


@torch.library.register_fake("loralloy::gated_lora", lib=_library)
def _no_output(y: torch.Tensor, x: torch.Tensor, module: int) -> None:
    """Shapes only: the operator returns nothing."""
    if y.device != x.device:
        raise ValueError(f"y is on {y.device}, x on {x.device}")
