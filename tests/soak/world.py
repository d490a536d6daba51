"""What writers, readers and whoever kills the server share."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.soak.held import Name
from tests.support import running_server

VARIANTS = 10
PROMPTS = tuple(tuple(range(30 + 17 * n, 40 + 20 * n)) for n in range(3))
GREEDY = {"max_tokens": 6, "temperature": 0, "ignore_eos": True, "logprobs": 1}
TOKENS = {"return_tokens_as_token_ids": True}

Tokens = tuple[str, ...]


class Broken(AssertionError):
    """The server did what it must not."""


@dataclass
class World:
    """One run's.

    Attributes:
        files: folder of each variant.
        names: every adapter's name.
        random: decides what is done; not in which order it arrives.
        digests: of each variant.
        alone: (variant, prompt) → what it answers when nothing else goes on.
        done: how often what happened.
        up: set while the server runs and holds what it should.
        kills: how often it was killed.
        http: to the server that runs.
    """

    files: list[Path]
    names: list[Name]
    random: random.Random
    digests: list[str] = field(default_factory=list)
    alone: dict[tuple[int, int], Tokens] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    up: asyncio.Event = field(default_factory=asyncio.Event)
    kills: int = 0
    http: httpx.AsyncClient = field(default_factory=httpx.AsyncClient)

    async def survive(self, kind: str, action: Awaitable[None]) -> None:
        """Do it; what was on its way when the server was killed may come to nothing.

        Raises:
            Broken: a running server let go of it.
        """
        kills = self.kills
        try:
            await action
            self.done[kind] += 1
        except httpx.TransportError as error:
            if self.kills == kills:
                raise Broken(f"{kind} lost its connection to a running server") from error
            self.done[f"{kind} cut off"] += 1

    async def upload(
        self,
        method: str,
        path: str,
        content: int,
        data: dict[str, str],
        headers: dict[str, str] | None = None,
    ) -> str:
        """Send a variant's files; its digest."""
        files = running_server.adapter_files(self.files[content])
        answer = await self.http.request(method, path, data=data, files=files, headers=headers)
        expect(answer, 200, 201)
        digest = str(answer.json()["digest"])
        if self.digests[content:] and digest != self.digests[content]:
            raise Broken(f"variant {content} became {digest}")
        return digest

    async def complete(self, prompt: int, body: dict[str, Any]) -> httpx.Response:
        """Ask for tokens."""
        asked = {"prompt": list(PROMPTS[prompt]), **GREEDY, **TOKENS, **body}
        return await self.http.post("/v1/completions", json=asked)


def expect(answer: httpx.Response, *statuses: int) -> None:
    """Raise Broken unless the answer has one of these statuses."""
    if answer.status_code not in statuses:
        request = answer.request
        raise Broken(f"{request.method} {request.url.path}: {answer.status_code} {answer.text}")
    if answer.status_code == 503 and "Retry-After" not in answer.headers:
        raise Broken("a 503 that does not say when to come again")


def tokens_of(answer: httpx.Response) -> Tokens:
    """The tokens of a completion."""
    return tuple(answer.json()["choices"][0]["logprobs"]["tokens"])
