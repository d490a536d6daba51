"""Requests of every kind, from clients that stay, leave, lose patience or ask for nonsense."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx

from tests.support.running_server import RunningServer

CLIENTS = 32
"""So many requests at once."""

ENDINGS = {"stays": 50, "leaves": 26, "leaves_at_once": 9, "loses_patience": 8, "nonsense": 7}
"""What becomes of a request → of a hundred, how many."""

SCOPES = {"token": 8, "recompute": 2}
POLICIES = ("auto", "auto", "tle", "nearest")
WINDOWS = ("tail", "tail", "last_message", "whole", "head")
ENCODERS = ("default", "default", "static")
STRIDES = (1, 1, 2, 3, 5, 1000)
WORDS = [
    *("number", "sum", "equation", "program", "loop", "function", "cell", "atom", "planet"),
    *("text", "passage", "answer", "oven", "flour", "goal", "team", "rhyme", "king", "battle"),
]

NONSENSE: tuple[tuple[dict[str, Any], int], ...] = (
    ({"policy": "no-such-policy"}, 404),
    ({"routing": {"scope": "token", "stride": 0}}, 400),
    ({"routing": {"scope": "sometimes"}}, 400),
    ({"temperature": "hot"}, 400),
    ({"max_tokens": 100_000}, 400),
    ({"n": 65}, 400),
    ({"vllm_xargs": {"loralloy": "mine"}}, 400),
    ({"stream": True, "stream_options": {"include_usage": "perhaps"}}, 400),
    ({"prompt": " ".join(WORDS * 60)}, 400),
)
"""Changes to a completion that make it nonsense, and the answer's status. Some are only found out
when the request has its lease and its trace."""


class RoughTraffic:
    """Sends many requests, a number of them at once.

    Attributes:
        ended: how many requests ended how.
    """

    def __init__(self, server: RunningServer, seed: int = 0) -> None:
        self._server = server
        self._random = random.Random(seed)
        self.ended: Counter[str] = Counter()

    async def send(self, requests: int, each: Callable[[int], Awaitable[None]]) -> None:
        """Send so many; ``each`` is awaited after every one, with how many have ended."""
        left = iter(range(requests))
        done = 0
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=CLIENTS)

        async def client(http: httpx.AsyncClient) -> None:
            nonlocal done
            for _ in left:
                await self._one(http)
                done += 1
                await each(done)

        async with (
            httpx.AsyncClient(base_url=self._server.url, timeout=120, limits=limits) as http,
            asyncio.TaskGroup() as clients,
        ):
            for _ in range(CLIENTS):
                clients.create_task(client(http))

    async def fill(self) -> None:
        """The longest texts, as many at once as there are clients, weighed side by side."""
        said = " ".join(WORDS * 2)
        body = {
            "model": self._server.base,
            "prompt": said,
            "policy": "auto",
            "routing": {"scope": "token", "stride": 5, "window": "whole"},
            "max_tokens": 150,
            "ignore_eos": True,
        }
        async with httpx.AsyncClient(base_url=self._server.url, timeout=900) as http:
            answers = await asyncio.gather(
                *(http.post("/v1/completions", json=body) for _ in range(CLIENTS))
            )
        assert {answer.status_code for answer in answers} == {200}

    async def _one(self, http: httpx.AsyncClient) -> None:
        kind = self._random.choices(list(ENDINGS), list(ENDINGS.values()))[0]
        await getattr(self, f"_{kind}")(http)
        self.ended[kind] += 1

    async def _stays(self, http: httpx.AsyncClient) -> None:
        wanted = self._random.randint(2, 12)
        path, body = self._asked(max_tokens=wanted, n=self._random.choice((1, 1, 1, 1, 2)))
        if self._random.random() < 0.5:
            answer = await http.post(path, json=body)
            assert answer.status_code == 200, answer.text
            told = answer.json()
            assert told["usage"]["completion_tokens"] == wanted * body["n"], told
            assert len(told["trace"]["choices"]) == body["n"]
            return
        options = {"include_mixture": self._random.random() < 0.5, "include_usage": True}
        body |= {"stream": True, "stream_options": options}
        async with http.stream("POST", path, json=body) as answer:
            lines = [line async for line in answer.aiter_lines() if line.startswith("data: ")]
        assert answer.status_code == 200, lines
        assert lines[-1] == "data: [DONE]", lines[-3:]
        assert f'"completion_tokens":{wanted * body["n"]}' in lines[-2].replace(" ", "")

    async def _leaves(self, http: httpx.AsyncClient) -> None:
        """In the middle of a stream."""
        path, body = self._asked(max_tokens=150, n=self._random.choice((1, 1, 3)), stream=True)
        if self._random.random() < 0.2:
            path, body = "/v1/responses", _as_response(body)
        async with http.stream("POST", path, json=body) as answer:
            assert answer.status_code == 200
            wanted = self._random.randint(1, 8)
            async for line in answer.aiter_lines():
                wanted -= line.startswith("data: {")
                if not wanted:
                    return

    async def _leaves_at_once(self, http: httpx.AsyncClient) -> None:
        """Before the first token, or even before the answer's headers."""
        path, body = self._asked(max_tokens=150, stream=self._random.random() < 0.7)
        asking = asyncio.create_task(self._headers_of(http, path, body))
        await asyncio.wait({asking}, timeout=self._random.random() * 0.1)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking

    async def _headers_of(self, http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
        async with http.stream("POST", path, json=body) as answer:
            assert answer.status_code == 200

    async def _loses_patience(self, http: httpx.AsyncClient) -> None:
        path, body = self._asked(max_tokens=150)
        with suppress(httpx.TimeoutException):
            await http.post(path, json=body, timeout=0.05 + self._random.random() / 2)

    async def _nonsense(self, http: httpx.AsyncClient) -> None:
        change, status = self._random.choice(NONSENSE)
        _, body = self._asked(max_tokens=4, path="/v1/completions")
        answer = await http.post("/v1/completions", json={**body, **change})
        assert answer.status_code == status, (change, answer.text)

    def _asked(self, path: str | None = None, **more: Any) -> tuple[str, dict[str, Any]]:
        """A path and a body whose weights follow the answer; policies by the dozen."""
        pick = self._random.choice
        scope = self._random.choices(list(SCOPES), list(SCOPES.values()))[0]
        policy = pick(POLICIES)
        routing = {"scope": scope, "stride": pick(STRIDES)}
        if policy in ("auto", "tle"):
            routing |= {"window": pick(WINDOWS)}
        if policy == "auto":
            routing |= {"temperature": round(0.02 + self._random.randrange(40) / 1000, 3)}
        if scope == "token":
            routing |= {"encoder": pick(ENCODERS)}
        said = " ".join(self._random.choices(WORDS, k=self._random.randint(3, 40)))
        path = path or pick(("/v1/chat/completions", "/v1/completions"))
        spoken = (
            {"prompt": said}
            if path == "/v1/completions"
            else {"messages": [{"role": "user", "content": said}]}
        )
        body = {
            **spoken,
            "policy": policy,
            "routing": routing,
            "temperature": 0.8,
            "ignore_eos": True,
            "n": 1,
        }
        return path, {**body, "model": self._server.base, **more}


def _as_response(body: dict[str, Any]) -> dict[str, Any]:
    """The same request in the words of the responses route, which knows no ``n``."""
    said = body["prompt"] if "prompt" in body else body["messages"]
    kept = ("model", "policy", "routing", "temperature", "stream")
    asked = {name: body[name] for name in kept}
    return {**asked, "input": said, "max_output_tokens": body["max_tokens"]}
