"""Means with 95 % bootstrap intervals over the items (Efron and Tibshirani 1993, ch. 13)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
RESAMPLES = 2000
MEAN = "mean of tasks"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval."""

    mean: float
    low: float
    high: float


def estimates(tasks: Mapping[str, tuple[Values, Values]]) -> dict[str, Estimate]:
    """Σ_i sums_i / Σ_i counts_i by task, and the mean of the tasks, in which each counts the same.

    Args:
        tasks: for each task the items' sums [n] (of losses, say) and counts [n] (of tokens).

    The same items are drawn whatever the sums, so a difference of two variants has its own interval
    when the sums given are differences: the items are paired.
    """
    found, drawn = {}, []
    for number, (task, (sums, counts)) in enumerate(tasks.items()):
        picks = np.random.default_rng(number).integers(len(sums), size=(RESAMPLES, len(sums)))
        resampled = sums[picks].sum(axis=1) / counts[picks].sum(axis=1)
        drawn.append(resampled)
        found[task] = _estimate(float(sums.sum() / counts.sum()), resampled)
    middle = sum(estimate.mean for estimate in found.values()) / len(found)
    found[MEAN] = _estimate(middle, np.mean(drawn, axis=0))
    return found


def _estimate(mean: float, resampled: Values) -> Estimate:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Estimate(mean, float(low), float(high))
