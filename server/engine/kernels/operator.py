"""The operator ``loralloy::gated_lora``: one call applies a step's mixtures to one module.

It is opaque to torch.compile, so that the compiled graph of the base model stays small, and it
mutates ``y`` in place. On CPU the compiled kernel implements it; without one, and on other
devices, plain torch does.
"""

from pathlib import Path

import torch

from server.engine.gates import bank_update

SCHEMA = (
    "gated_lora(Tensor(a!) y, Tensor x, Tensor[] a, Tensor[] b, int[] slices, Tensor[] step, "
    "int few) -> ()"
)

_library = torch.library.Library("loralloy", "DEF")
_library.define(SCHEMA)
_kernel: list[Path] = []


def gated_lora(
    y: torch.Tensor,
    x: torch.Tensor,
    a: list[torch.Tensor],
    b: list[torch.Tensor],
    slices: list[int],
    step: list[torch.Tensor],
    few: int,
) -> None:
    """Add each token's mixture to ``y``, in plain torch.

    Args:
        y: [T, Σ slices], changed in place; rows of tokens without gates are left as they are.
        x: [T, in].
        a: per slice [slots, 1, max_rank, in].
        b: per slice [slots, 1, slice, max_rank].
        slices: sizes of the outputs that share the module (q, k, v; gate, up; or one).
        step: the step's gates (``server.engine.step.StepGates.tensors``).
        few: tokens per slot up to which the compiled kernel skips the matrix products; no meaning
            here.
    """
    del few
    header, slots, _tokens, inner, outer, crossed = step
    used = int(header[1])
    if used == 0 or x.shape[0] == 0:
        return
    ids = slots[:used, 0].long()
    count = x.shape[0]
    gates = (inner[:count, ids], outer[:count, ids], crossed[:count].bool())
    touched = gates[0].ne(0).any(dim=1, keepdim=True)
    offset = 0
    for bank_a, bank_b, size in zip(a, b, slices, strict=True):
        update = bank_update(x, bank_a[ids, 0], bank_b[ids, 0].transpose(1, 2), gates)
        part = y[:, offset : offset + size]
        part.copy_(torch.where(touched, part.float() + update, part.float()))
        offset += size


def install(kernel: Path | None) -> None:
    """Bind the operator to the compiled kernel, or to plain torch if there is none."""
    _library.impl("gated_lora", gated_lora, "CUDA")
    if kernel is None:
        _library.impl("gated_lora", gated_lora, "CPU")
        return
    torch.ops.load_library(str(kernel))
    _kernel.append(kernel)


def installed_kernel() -> Path | None:
    """The compiled kernel in use, or None when plain torch is."""
    return _kernel[0] if _kernel else None


@torch.library.register_fake("loralloy::gated_lora", lib=_library)
def _no_output(
    y: torch.Tensor,
    x: torch.Tensor,
    a: list[torch.Tensor],
    b: list[torch.Tensor],
    slices: list[int],
    step: list[torch.Tensor],
    few: int,
) -> None:
    """Shapes only: the operator returns nothing."""
