"""Who asks for answers, and judges them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import httpx

from tests.soak.held import Content, Name
from tests.soak.world import GREEDY, PROMPTS, Broken, World, expect, tokens_of
from tests.support.tiny_llama import BASE_NAME


class Reader:
    """Asks for answers by name, by ``name@digest`` and by mixture; leaves some of them early."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def read(self, over: Callable[[], bool]) -> None:
        while not over():
            await self._world.up.wait()
            kind = self._world.random.choice(("ask", "ask", "ask_pinned", "ask_mixture", "leave"))
            await self._world.survive(
                kind, getattr(self, f"_{kind}")(self._world.random.choice(self._world.names))
            )

    async def _ask(self, name: Name) -> None:
        position, prompt = name.acknowledged, self._world.random.randrange(len(PROMPTS))
        answer = await self._world.complete(prompt, {"model": name.name})
        self._judge(answer, name.since(position), prompt, name.name)

    async def _ask_pinned(self, name: Name) -> None:
        position, prompt = name.acknowledged, self._world.random.randrange(len(PROMPTS))
        if (held := name.content) is None:
            return
        pinned = f"{name.name}@{self._world.digests[held]}"
        answer = await self._world.complete(prompt, {"model": pinned})
        gone = {None} & name.since(position)
        self._judge(answer, {held, *gone}, prompt, pinned)

    async def _ask_mixture(self, name: Name) -> None:
        other = self._world.random.choice(self._world.names)
        if other is name:
            return
        mixture = {"adapters": {name.name: 0.5, other.name: 0.5}}
        positions = name.acknowledged, other.acknowledged
        answer = await self._world.complete(0, {"model": BASE_NAME, "mixture": mixture})
        either = name.since(positions[0]) | other.since(positions[1])
        expect(answer, 200, 503, *((404,) if None in either else ()))

    async def _leave(self, name: Name) -> None:
        body = {"model": name.name, "prompt": list(PROMPTS[0]), **GREEDY, "max_tokens": 150}
        asking = asyncio.create_task(self._world.http.post("/v1/completions", json=body))
        await asyncio.wait({asking}, timeout=self._world.random.random() * 0.4)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking

    def _judge(
        self, answer: httpx.Response, possible: set[Content], prompt: int, name: str
    ) -> None:
        """An answer must be what one of the contents makes, and no name vanishes."""
        expect(answer, 200, 503, *((404,) if None in possible else ()))
        if answer.status_code != 200:
            self._world.done[f"answered {answer.status_code}"] += 1
            return
        found = tokens_of(answer)
        if found not in [self._world.alone[one, prompt] for one in possible if one is not None]:
            raise Broken(f"{name} gave {found}, which is none of {possible}")
