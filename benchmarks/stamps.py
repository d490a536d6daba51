"""Speeds from the times at which tokens came, one list of times a request."""

from collections.abc import Sequence

Stamps = Sequence[Sequence[float]]
"""Seconds by one clock, ascending, for each of the requests that ran at once."""


def rate_together(stamps: Stamps) -> float:
    """Tokens a second while every request decodes: the first tokens come before, and don't count.

    From the latest first token to the earliest last one.
    """
    begin = max(times[0] for times in stamps)
    end = min(times[-1] for times in stamps)
    return sum(sum(begin < t <= end for t in times) for times in stamps) / (end - begin)


def rate_since(begin: float, stamps: Stamps) -> float:
    """Tokens a second from ``begin``, when the requests were sent, to the very last token."""
    return sum(map(len, stamps)) / (max(times[-1] for times in stamps) - begin)
