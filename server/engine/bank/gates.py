"""The arithmetic of the gated bank, in plain torch: no vLLM, no state, no I/O.

A layer's resident adapters are stacked once: ``A [K, r, in]`` and ``B [K, r, out]`` (scaling
``s_k = lora_alpha / r`` already multiplied into B, as vLLM's loader does it). With ``z_k = A_k x``,
a mixture with weights ``w_k`` is two gate vectors and a flag per token:

    combination     inner_k      outer_k     crossed
    cat             w_k          1           no       h_k = inner_k z_k
    linear          √(w_k s_k)   √(w_k/s_k)  yes      h_k = outer_k Σ_i inner_i z_i
    linear_peft04   w_k s_k      1/s_k       yes      h_k = outer_k Σ_i inner_i z_i

and ``y += Σ_k B_k h_k`` in every case. Zero gates are the base model, one gate of 1 is plain LoRA.
The two crossed rules are PEFT's ``linear`` (≥ 0.9, and 0.4 to 0.6) with their cross terms
``B_j A_i``; only ``cat`` is the exact weighted sum of the adapters' updates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from router.mixture import Combination


@dataclass(frozen=True, slots=True)
class Gates:
    """One mixture's gates: ``inner`` and ``outer``, one number a member, and the crossed flag."""

    inner: tuple[float, ...]
    outer: tuple[float, ...]
    crossed: bool


def gates_of(
    weights: Sequence[float], scalings: Sequence[float], combination: Combination
) -> Gates:
    """Gates of a mixture for a bank whose B holds the scaling.

    Args:
        weights: w_k ≥ 0, one a member.
        scalings: s_k > 0, one a member.
        combination: how the members combine.

    Raises:
        ValueError: an unknown combination, or a scaling that is not positive.
    """
    if combination == "cat":
        return Gates(tuple(weights), (1.0,) * len(weights), False)
    if any(not s > 0 for s in scalings):
        raise ValueError(f"combination {combination!r} needs scalings above 0, not {scalings}")
    pairs = list(zip(weights, scalings, strict=True))
    if combination == "linear":
        inner = tuple(math.sqrt(w * s) for w, s in pairs)
        return Gates(inner, tuple(math.sqrt(w / s) for w, s in pairs), True)
    if combination == "linear_peft04":
        return Gates(tuple(w * s for w, s in pairs), tuple(1.0 / s for s in scalings), True)
    raise ValueError(f"unknown combination {combination!r}; use cat, linear or linear_peft04")


def by_slot(slots: Sequence[int], gates: Gates) -> tuple[tuple[int, ...], Gates]:
    """Each slot once: members in one slot, which are one content under several names, add up.

    Args:
        slots: one for each member.
        gates: the members' gates.

    Returns:
        The slots in their order, and the gates of each.
    """
    if len(set(slots)) == len(slots):
        return tuple(slots), gates
    inner: dict[int, float] = {}
    outer: dict[int, float] = {}
    for slot, left, right in zip(slots, gates.inner, gates.outer, strict=True):
        inner[slot] = inner.get(slot, 0.0) + left
        outer[slot] = outer.get(slot, 0.0) + right if gates.crossed else right
    return tuple(inner), Gates(tuple(inner.values()), tuple(outer.values()), gates.crossed)


def apply_gates(
    z: torch.Tensor, inner: torch.Tensor, outer: torch.Tensor, crossed: torch.Tensor
) -> torch.Tensor:
    """``h`` from ``z``.

    Args:
        z: [T, K, r], the shrunk activations.
        inner: [T, K].
        outer: [T, K].
        crossed: [T], bool.

    Returns:
        h: [T, K, r].
    """
    # A gate of 0 is no part at all, whatever z: another request's adapter may overflow.
    plain = torch.where(inner.unsqueeze(-1) == 0, 0.0, z * inner.unsqueeze(-1))
    if not bool(crossed.any()):
        return plain
    across = outer.unsqueeze(-1) * plain.sum(dim=1, keepdim=True)
    return torch.where(crossed[:, None, None], across, plain)


def bank_update(
    x: torch.Tensor,
    bank_a: torch.Tensor,
    bank_b: torch.Tensor,
    gates: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """What the mixtures add to a layer's output: ``Σ_k B_k h_k``, computed in fp32.

    Args:
        x: [T, in].
        bank_a: [K, r, in].
        bank_b: [K, r, out].
        gates: inner [T, K], outer [T, K], crossed [T].

    Returns:
        [T, out], fp32.
    """
    z = torch.einsum("ti,kri->tkr", x.float(), bank_a.float())
    h = apply_gates(z, *gates)
    return torch.einsum("tkr,kro->to", h, bank_b.float())
