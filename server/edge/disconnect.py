"""Stop waiting for something when the client has gone."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.types import Receive

T = TypeVar("T")


class ClientGone(Exception):
    """The client closed the connection; there is nobody to answer."""


def while_there(request: Request) -> Callable[[], Awaitable[None]]:
    """What to ask again and again during long work for a request whose body has been read.

    It raises ClientGone once the client has gone.
    """

    async def check() -> None:
        if await request.is_disconnected():
            raise ClientGone

    return check


async def unless_gone(work: Coroutine[Any, Any, T], receive: Receive) -> T:
    """Await work for as long as the client is there. The request's body must have been read.

    Raises:
        ClientGone: the client left first; the work is cancelled and has ended.
    """
    task = asyncio.create_task(work)
    departure = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({task, departure}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return await task
    finally:
        for unfinished in (task, departure):
            unfinished.cancel()
        await asyncio.gather(task, departure, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
