"""What takes long to read is read beside the event loop, one body after the other.

A thread is enough, and a process would not help: what it read would have to be read again from the
pipe. A parser holds the interpreter for as long as it runs, but how long that is is bounded before
it begins (``server.edge.body.json_size``). One thread, so that never more than one such body stands
between the event loop and its next step; callers take turns.
"""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from server.access.turns import TurnsExecutor

T = TypeVar("T")

LARGE: Final = 2**16
"""Bytes from which on a body is read beside the event loop: below, reading takes a millisecond or
two."""

_READER: Final = TurnsExecutor("large-bodies")


async def read_beside(size: int, work: Callable[[], T]) -> T:
    """Do what a body of so many bytes asks for: at once, or beside the event loop."""
    if size <= LARGE:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_READER, work)
