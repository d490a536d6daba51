"""Who adds, replaces, describes and removes adapters."""

import asyncio
from collections.abc import Callable

from tests.soak.held import Name
from tests.soak.world import VARIANTS, World, expect


class Writer:
    """Changes its own names, one change after the other."""

    def __init__(self, world: World, names: list[Name]) -> None:
        self._world = world
        self._names = names

    async def write(self, over: Callable[[], bool]) -> None:
        while not over():
            await self._world.up.wait()
            name = self._world.random.choice(self._names)
            async with name.changing:
                kinds = ("add",) if name.content is None else ("replace", "describe", "remove")
                kind = self._world.random.choice(kinds)
                if len(name.possible) == 1:  # else a killed server left it open
                    await self._world.survive(kind, getattr(self, f"_{kind}")(name))
            await asyncio.sleep(self._world.random.random() / 2)

    async def _add(self, name: Name) -> None:
        content = self._world.random.randrange(VARIANTS)
        name.try_(content)
        await self._world.upload("POST", "/v1/adapters", content, {"name": name.name})
        name.settle(content)

    async def _replace(self, name: Name) -> None:
        held, content = name.content, self._world.random.randrange(VARIANTS)
        assert held is not None
        headers = (
            {"If-Match": f'"{self._world.digests[held]}"'}
            if self._world.random.random() < 0.5
            else {}
        )
        name.try_(content)
        await self._world.upload("PUT", f"/v1/adapters/{name.name}", content, {}, headers)
        name.settle(content)

    async def _describe(self, name: Name) -> None:
        body = {"description": f"of {self._world.random.randrange(9)}"}
        answer = await self._world.http.patch(f"/v1/adapters/{name.name}", json=body)
        expect(answer, 200)

    async def _remove(self, name: Name) -> None:
        name.try_(None)
        expect(await self._world.http.delete(f"/v1/adapters/{name.name}"), 200, 204)
        name.settle(None)
