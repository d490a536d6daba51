"""Four measures of how far two adapters overlap, module by module (LoRI, arXiv 2504.07448).

With Δ = s·B·A, rows a_p of A, and M = (B ≠ 0):

    row cosine     mean over p, q of |cos(a_ip, a_jq)|                     chance √(2 / (π d))
    cross-Gram     ‖A_i A_jᵀ‖_F / (‖A_i‖_F ‖A_j‖_F)                        chance 1 / √d
    delta cosine   ⟨Δ_i, Δ_j⟩ / (‖Δ_i‖ ‖Δ_j‖), from r × r products alone    chance 0
    mask overlap   Jaccard of M_i and M_j, where both B are sparse          chance p / (2 − p)

Chance is what independent A of d inputs have, and masks of one density p. That weights do not
overlap does not mean that behaviour does not (arXiv 2510.03262).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from adapters.errors import InvalidAdapter
from adapters.format.factors import Factors
from adapters.format.peft_format import layer_of

DENSE = 0.999
"""A share of entries that are not 0 from which on B is not sparse: a few zeros are no mask."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two adapters at one module, or the means over several.

    Attributes:
        row_cosine: mean absolute cosine of their A's rows.
        cross_gram: norm of A_i A_jᵀ, of what it could be.
        delta_cosine: of their updates.
        mask_overlap: of where their B is not 0; None where one is dense or the shapes differ.
        row_chance: what ``row_cosine`` is for independent A.
        gram_chance: what ``cross_gram`` is.
        mask_chance: what ``mask_overlap`` is for independent masks of these densities.
    """

    row_cosine: float
    cross_gram: float
    delta_cosine: float
    mask_overlap: float | None
    row_chance: float
    gram_chance: float
    mask_chance: float | None


@dataclass(frozen=True, slots=True)
class ModuleOverlap:
    """Two adapters at one module of a layer."""

    module: str
    layer: int | None
    overlap: Overlap
    inner: float
    norms: tuple[float, float]


def module_overlaps(
    first: Mapping[str, Factors], second: Mapping[str, Factors]
) -> list[ModuleOverlap]:
    """Two adapters at every module that both touch, in order of the paths.

    Raises:
        InvalidAdapter: there is no such module, or their shapes there differ.
    """
    common = [module for module in first if module in second]
    if not common:
        raise InvalidAdapter("the two adapters touch no module in common")
    return [_at(module, first[module], second[module]) for module in common]


def overall(parts: Sequence[ModuleOverlap]) -> Overlap:
    """The means over modules; the delta cosine is that of all updates together."""
    inner = sum(part.inner for part in parts)
    norms = [math.sqrt(sum(part.norms[side] ** 2 for part in parts)) for side in (0, 1)]
    overlaps = [part.overlap for part in parts]
    return Overlap(
        row_cosine=fmean(one.row_cosine for one in overlaps),
        cross_gram=fmean(one.cross_gram for one in overlaps),
        delta_cosine=_ratio(inner, norms[0] * norms[1]),
        mask_overlap=_mean(one.mask_overlap for one in overlaps),
        row_chance=fmean(one.row_chance for one in overlaps),
        gram_chance=fmean(one.gram_chance for one in overlaps),
        mask_chance=_mean(one.mask_chance for one in overlaps),
    )


def by_layer(parts: Iterable[ModuleOverlap]) -> dict[int, Overlap]:
    """Layer → the means over its modules; modules outside of layers are left out."""
    layers: dict[int, list[ModuleOverlap]] = {}
    for part in parts:
        if part.layer is not None:
            layers.setdefault(part.layer, []).append(part)
    return {layer: overall(layers[layer]) for layer in sorted(layers)}


def _at(module: str, one: Factors, other: Factors) -> ModuleOverlap:
    if one.a.shape[1] != other.a.shape[1] or one.b.shape[0] != other.b.shape[0]:
        raise InvalidAdapter(f"the two adapters differ in the size of {module}")
    gram = one.a.double() @ other.a.double().T
    inner = _inner(one, other)
    norms = math.sqrt(_inner(one, one)), math.sqrt(_inner(other, other))
    lengths = torch.outer(one.a.double().norm(dim=1), other.a.double().norm(dim=1))
    width = one.a.shape[1]
    masks = _masks(one.b, other.b)
    overlap = Overlap(
        row_cosine=float((gram.abs() / lengths.clamp_min(torch.finfo(gram.dtype).tiny)).mean()),
        cross_gram=_ratio(
            float(gram.norm()), float(one.a.double().norm() * other.a.double().norm())
        ),
        delta_cosine=_ratio(inner, norms[0] * norms[1]),
        mask_overlap=None if masks is None else masks[0],
        row_chance=math.sqrt(2 / (math.pi * width)),
        gram_chance=1 / math.sqrt(width),
        mask_chance=None if masks is None else masks[1],
    )
    return ModuleOverlap(module, layer_of(module), overlap, inner, norms)


def _inner(one: Factors, other: Factors) -> float:
    """⟨Δ_i, Δ_j⟩ = s_i s_j ⟨B_iᵀ B_j, A_i A_jᵀ⟩: nothing as large as an update is ever made."""
    outputs = one.b.double().T @ other.b.double()
    inputs = one.a.double() @ other.a.double().T
    return one.scaling * other.scaling * float((outputs * inputs).sum())


def _masks(one: torch.Tensor, other: torch.Tensor) -> tuple[float, float] | None:
    """Overlap of where two B are not 0, and what chance gives."""
    if one.shape != other.shape:
        return None
    here, there = one != 0, other != 0
    densities = [float(mask.float().mean()) for mask in (here, there)]
    if max(densities) > DENSE or min(densities) == 0:
        return None
    both = densities[0] * densities[1]
    union = int((here | there).sum())
    return int((here & there).sum()) / union, both / (sum(densities) - both)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
