import asyncio

import pytest

from server.edge.disconnect import ClientGone, unless_gone


class Client:
    """A connection that ends when told."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 5))


def test_work_ends_while_the_client_is_there():
    async def scenario():
        async def work() -> int:
            await asyncio.sleep(0)
            return 7

        before = asyncio.all_tasks()
        assert await unless_gone(work(), Client().receive) == 7
        assert asyncio.all_tasks() == before, "the watch has ended too"

    run(scenario())


def test_work_is_cancelled_when_the_client_leaves():
    async def scenario():
        client, ended = Client(), []

        async def work() -> None:
            try:
                client.gone.set()
                await asyncio.sleep(60)
            finally:
                ended.append(True)

        with pytest.raises(ClientGone):
            await unless_gone(work(), client.receive)
        assert ended == [True]

    run(scenario())


def test_errors_of_the_work_pass():
    async def scenario():
        async def work() -> None:
            raise LookupError("x")

        with pytest.raises(LookupError):
            await unless_gone(work(), Client().receive)

    run(scenario())


def test_work_that_is_done_counts_even_if_the_client_has_left():
    async def scenario():
        client = Client()
        client.gone.set()

        async def work() -> int:
            return 7

        assert await unless_gone(work(), client.receive) == 7

    run(scenario())
