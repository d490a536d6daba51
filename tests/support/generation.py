"""Asking the server for tokens and their log-probabilities, one request or many at once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.running_server import RunningServer

TOP = 20
NAMES = ("id", "answer_id")
"""What in a trace names the request, so that two equal ones have it unlike."""


@dataclass(frozen=True)
class Ask:
    """One completion request over token ids.

    Attributes:
        prompt: token ids.
        body: further fields: model, mixture, policy, …
        max_tokens: how many tokens to generate, greedily.
    """

    prompt: tuple[int, ...]
    body: dict[str, Any]
    max_tokens: int = 12


@dataclass(frozen=True)
class Generated:
    """What came back: tokens, top log-probabilities by token id, how much was cached.

    Attributes:
        mixture: what the answer says of its mixture, the scores included.
        steps: the weights that followed the answer, one after the other; none in scope prompt.
        trace: what the server keeps of them, but for the request's names; None in scope prompt.
    """

    tokens: list[int]
    top: list[dict[int, float]]
    cached: int
    mixture: dict[str, Any]
    steps: tuple[dict[str, float], ...] = ()
    trace: dict[str, Any] | None = None


def generate(server: RunningServer, asks: Sequence[Ask]) -> list[Generated]:
    """Send all requests at once; the engine decodes them in one batch."""
    return asyncio.run(_all(server, asks))


async def _all(server: RunningServer, asks: Sequence[Ask]) -> list[Generated]:
    headers = {"Authorization": f"Bearer {server.api_key}"} if server.api_key else {}
    async with httpx.AsyncClient(base_url=server.url, timeout=300, headers=headers) as client:
        return list(await asyncio.gather(*(_one(client, server, ask) for ask in asks)))


async def _one(client: httpx.AsyncClient, server: RunningServer, ask: Ask) -> Generated:
    body = {
        "model": server.base,
        "prompt": list(ask.prompt),
        "max_tokens": ask.max_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "logprobs": TOP,
        "return_tokens_as_token_ids": True,
        **ask.body,
    }
    answer = await client.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    data = answer.json()
    trace = await _trace(client, answer) if "trace" in data else None
    logprobs = data["choices"][0]["logprobs"]
    details = data["usage"].get("prompt_tokens_details") or {}
    return Generated(
        [_token(name) for name in logprobs["tokens"]],
        [{_token(n): p for n, p in top.items()} for top in logprobs["top_logprobs"]],
        details.get("cached_tokens") or 0,
        data["mixture"],
        () if trace is None else tuple(step["weights"] for step in trace["choices"][0]["steps"]),
        trace,
    )


async def _trace(client: httpx.AsyncClient, answer: httpx.Response) -> dict[str, Any]:
    """A trace as the server keeps it, which is what the answer says."""
    kept = await client.get(f"/v1/traces/{answer.headers['x-request-id']}")
    assert kept.status_code == 200, kept.text
    assert kept.json() == answer.json()["trace"]
    return {key: value for key, value in kept.json().items() if key not in NAMES}


def _token(name: str) -> int:
    return int(name.removeprefix("token_id:"))
