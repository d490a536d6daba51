"""Which entries of B LoRI-S trains: the largest that LoRI-D has found (arXiv 2504.07448).

Of N entries of |B| the k = round((1 − σ) N) largest are kept, σ being the sparsity; LoRI takes them
over the whole model together, its ablations within groups. Exactly k are kept: of equal entries
those that come first, in the order of the parameters' names.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, get_args

import torch

from adapters.training.errors import TrainingError

Granularity = Literal["model", "module", "projection", "layer", "matrix"]
GRANULARITIES: Final[tuple[Granularity, ...]] = get_args(Granularity)
"""Over what the entries are ranked together: the whole model; attention and MLP; each of the seven
projections; each layer; each matrix."""

RATIOS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
"""Sparsities for which the authors write masks."""

_NAME = re.compile(r"\.layers\.(?P<layer>\d+)\.(?P<module>\w+)\.(?P<projection>\w+)\.lora_B\b")

Factors = Mapping[str, torch.Tensor]
Masks = dict[str, torch.Tensor]


def kept_count(entries: int, sparsity: float) -> int:
    """How many of so many entries a mask keeps.

    Raises:
        TrainingError: the sparsity is not from 0 up to, and without, 1.
    """
    if not 0 <= sparsity < 1:
        raise TrainingError(f"a sparsity is a share from 0 to less than 1, not {sparsity}")
    return round((1 - sparsity) * entries)


def magnitude_masks(
    factors: Factors,
    sparsity: float,
    granularity: Granularity = "model",
    taken: Factors | None = None,
) -> Masks:
    """The masks of all matrices B.

    Args:
        factors: parameter's name → B [out, rank].
        sparsity: σ, the share that is not trained.
        granularity: over what entries are ranked together.
        taken: masks of earlier tasks, by the same names, whose entries are left alone. The share
            that is kept is of all entries all the same.

    Returns:
        Parameter's name → which entries are trained: booleans of B's shape.

    Raises:
        TrainingError: B is empty or not finite, a mask does not fit it, or earlier tasks have taken
            too much.
    """
    if not factors:
        raise TrainingError("there is no lora_B to make a mask for")
    masks: Masks = {}
    for group, names in _groups(sorted(factors), granularity).items():
        magnitudes = {name: _magnitude(name, factors[name], taken) for name in names}
        flat = torch.cat([one.flatten() for one in magnitudes.values()])
        kept = _largest(flat, kept_count(len(flat), sparsity), group)
        parts = iter(kept.split([one.numel() for one in magnitudes.values()]))
        masks |= {name: next(parts).view(one.shape) for name, one in magnitudes.items()}
    return masks


def _groups(names: list[str], granularity: Granularity) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_group_of(name, granularity), []).append(name)
    return groups


def _group_of(name: str, granularity: Granularity) -> str:
    if granularity == "model":
        return "the model"
    if granularity == "matrix":
        return name
    found = _NAME.search(name)
    if found is None:
        raise TrainingError(f"{name} is no lora_B of a layer's projection; use 'model' or 'matrix'")
    return found[granularity]


def _magnitude(name: str, factor: torch.Tensor, taken: Factors | None) -> torch.Tensor:
    """|B| [out, rank] in fp32; −∞ where an entry may not be kept."""
    magnitude = factor.detach().float().abs()
    if not torch.isfinite(magnitude).all():
        raise TrainingError(f"{name} holds values that are not finite: no mask can be made of it")
    if taken is None:
        return magnitude
    if name not in taken or taken[name].shape != factor.shape:
        raise TrainingError(f"the earlier mask does not fit {name} of shape {list(factor.shape)}")
    return magnitude.masked_fill(taken[name].bool(), -torch.inf)


def _largest(flat: torch.Tensor, count: int, group: str) -> torch.Tensor:
    """Which entries are the largest, exactly so many: of equal ones the first."""
    free = int((flat >= 0).sum())
    if count > free:
        raise TrainingError(
            f"a mask is to keep {count} entries of {group}, but earlier tasks left {free} of "
            f"{len(flat)}; use a larger sparsity"
        )
    if count == 0:
        return torch.zeros_like(flat, dtype=torch.bool)
    threshold = flat.kthvalue(len(flat) - count + 1).values
    kept = flat > threshold
    equal = torch.nonzero(flat == threshold).flatten()
    kept[equal[: count - int(kept.sum())]] = True
    return kept
