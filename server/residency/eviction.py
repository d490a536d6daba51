"""Which adapters leave their slots for others.

The least recently used adapter that nobody leases goes at once. Where every one is leased, those
with the fewest leases are to drain: nobody gets a new lease of them, and the first that is free
goes.
"""

from collections.abc import Collection, Mapping, Sequence


def next_to_evict(
    resident: Sequence[str], staying: Collection[str], leases: Mapping[str, int]
) -> str | None:
    """The digest that makes room now; None if requests use all that may go.

    Args:
        resident: digests in slots, the least recently used first.
        staying: those that must not go: pinned, or needed by whoever wants the room.
        leases: digest → requests that use it.
    """
    free = (digest for digest in _others(resident, staying) if not leases.get(digest))
    return next(free, None)


def next_to_drain(
    resident: Sequence[str], staying: Collection[str], leases: Mapping[str, int], count: int
) -> set[str]:
    """The digests of which no new lease is given, ``count`` at most: the least used ones.

    Arguments are those of :func:`next_to_evict`.
    """
    return set(sorted(_others(resident, staying), key=lambda one: leases.get(one, 0))[:count])


def _others(resident: Sequence[str], staying: Collection[str]) -> list[str]:
    return [digest for digest in resident if digest not in staying]
