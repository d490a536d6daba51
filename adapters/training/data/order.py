"""Which examples are in each step: drawn ahead, by seed, so that a resumed run has the same."""

import random
from collections.abc import Sequence

POOL_BATCHES = 8
"""Batches are cut from pools of this many, sorted by length: little padding, still random."""


def draw_batches(lengths: Sequence[int], batch_size: int, steps: int, seed: int) -> list[list[int]]:
    """Indices of ``steps`` batches over items of the given ``lengths``.

    Every item is used once before any is used again. Within a pool, batches hold items of like
    length; the order of batches is random.
    """
    generator = random.Random(seed)
    drawn: list[int] = []
    while len(drawn) < steps * batch_size:
        drawn += generator.sample(range(len(lengths)), len(lengths))
    pool_size = POOL_BATCHES * batch_size
    batches: list[list[int]] = []
    for start in range(0, steps * batch_size, pool_size):
        pool = sorted(drawn[start : start + pool_size], key=lambda index: lengths[index])
        cut = [pool[at : at + batch_size] for at in range(0, len(pool), batch_size)]
        generator.shuffle(cut)
        batches += cut
    return batches[:steps]
