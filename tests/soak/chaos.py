"""A server whose adapters come and go under load, and which is killed now and then.

    python -m tests.soak.chaos [--minutes 10] [--kill-every 40] [--seed 0]

Writers add, replace, describe and remove adapters, each its own names; readers ask for answers by
name, by ``name@digest`` and by mixture, and some leave early. Every answer must be one that its
adapter gives alone, and nothing may fail that was not on its way when the server was killed
(SIGKILL). After every restart the registry must hold what was acknowledged, or what was asked for
and not answered yet; at the end ``loralloy adapters fsck`` must find nothing wrong.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from tests.soak.held import Name
from tests.soak.readers import Reader
from tests.soak.world import PROMPTS, VARIANTS, Broken, World, expect, tokens_of
from tests.soak.writers import Writer
from tests.support import running_server
from tests.support.running_server import RunningServer
from tests.support.tiny_llama import BASE_NAME, make_adapter, make_base
from tests.support.variants import variant

WRITERS, NAMES_EACH, READERS = 4, 4, 8
SLOTS = 4
ORPHANED_S = 30
"""Longest that a process of the server may outlive it."""

ARGUMENTS = ("--dtype", "float32", "--max-loras", str(SLOTS), "--max-model-len", "256", "--eager")
CLI = "from server.cli import main; main()"


class Chaos:
    """One run.

    Args:
        folder: for everything that is written.
        seed: of what is done.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._base = make_base(folder / "base" / BASE_NAME)
        plain = make_adapter(self._base, folder / "plain", 1)
        files = [variant(plain, folder / "variants" / str(n), n) for n in range(VARIANTS)]
        names = [Name(f"name-{n}") for n in range(WRITERS * NAMES_EACH)]
        self.world = World(files, names, random.Random(seed))
        self._server: RunningServer

    async def run(self, over: Callable[[], bool], kill_every: float) -> None:
        """Go on until it is over; kill the server about every so many seconds.

        Raises:
            Broken: the server did what it must not.
        """
        await self._start()
        await self._learn()
        async with asyncio.TaskGroup() as actors:
            for number in range(WRITERS):
                mine = self.world.names[number * NAMES_EACH : (number + 1) * NAMES_EACH]
                actors.create_task(Writer(self.world, mine).write(over))
            for _ in range(READERS):
                actors.create_task(Reader(self.world).read(over))
            actors.create_task(self._kill_now_and_then(over, kill_every))
        await self._kill()
        await self._start()
        await self._compare()
        await self.world.http.aclose()
        await asyncio.to_thread(running_server.stop, self._server)
        self._fsck(allowed=set())

    async def _kill_now_and_then(self, over: Callable[[], bool], every: float) -> None:
        while not over():
            await asyncio.sleep(every * self.world.random.uniform(0.5, 1.5))
            if not over():
                await self._kill()
                self._fsck(allowed={"leftover", "unreferenced"})
                await self._start()
                await self._compare()

    async def _kill(self) -> None:
        self.world.up.clear()
        self.world.kills += 1
        process = psutil.Process(self._server.process.pid)
        family = [process, *process.children(recursive=True)]
        process.kill()
        await asyncio.to_thread(self._server.process.wait)
        _, alive = await asyncio.to_thread(psutil.wait_procs, family, ORPHANED_S)
        if alive:
            raise Broken(f"these outlived the server: {alive}")
        for name in self.world.names:  # whatever was on its way finds out
            async with name.changing:
                pass
        self.world.done["killed"] += 1

    async def _start(self) -> None:
        self._server = await asyncio.to_thread(
            running_server.start,
            self._folder / "server",
            self._base,
            BASE_NAME,
            arguments=ARGUMENTS,
        )
        limits = httpx.Limits(max_connections=None)
        self.world.http = httpx.AsyncClient(base_url=self._server.url, timeout=120, limits=limits)

    async def _learn(self) -> None:
        """What each variant's digest is, and what it answers when nothing else goes on."""
        for number in range(VARIANTS):
            name = {"name": f"alone-{number}"}
            self.world.digests.append(await self.world.upload("POST", "/v1/adapters", number, name))
            for prompt in range(len(PROMPTS)):
                answer = await self.world.complete(prompt, {"model": name["name"]})
                expect(answer, 200)
                self.world.alone[number, prompt] = tokens_of(answer)
            await self.world.http.delete(f"/v1/adapters/alone-{number}")
        if len(set(self.world.alone.values())) < VARIANTS:
            raise Broken("the variants' answers do not tell them apart")
        self.world.up.set()

    async def _compare(self) -> None:
        """The registry against what was acknowledged, and what may have been done."""
        listed = (await self.world.http.get("/v1/adapters", params={"limit": 1000})).json()["data"]
        found = {one["id"]: self.world.digests.index(one["digest"]) for one in listed}
        if strangers := set(found) - {name.name for name in self.world.names}:
            raise Broken(f"nobody added {strangers}")
        for name in self.world.names:
            holds = found.get(name.name)
            if holds not in name.possible:
                raise Broken(f"{name.name} holds {holds}, acknowledged was {name.content}")
            name.settle(holds)
        self.world.up.set()

    def _fsck(self, allowed: set[str]) -> None:
        command = [sys.executable, "-c", CLI, "adapters", "fsck", "--json", "--data-dir"]
        folder = str(self._folder / "server" / "data")
        done = subprocess.run([*command, folder], capture_output=True, text=True, check=False)
        if not done.stdout.startswith("{"):
            raise Broken(f"fsck: {done.stdout} {done.stderr}")
        findings = json.loads(done.stdout)["findings"]
        if wrong := [one for one in findings if one["kind"] not in allowed]:
            raise Broken(f"fsck found {wrong}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--kill-every", type=float, default=40, help="seconds, on average")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(Path(folder), options.seed)
        end = time.monotonic() + 60 * options.minutes
        asyncio.run(chaos.run(lambda: time.monotonic() >= end, options.kill_every))
    for what, times in sorted(chaos.world.done.items()):
        sys.stdout.write(f"{times:6} {what}\n")


if __name__ == "__main__":
    main()
