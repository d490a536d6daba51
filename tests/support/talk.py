"""Chatting with the server: token by token, with log-probabilities, whole or as a stream."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.generation import TOP, Generated
from tests.support.running_server import RunningServer

Messages = Sequence[dict[str, str]]


@dataclass(frozen=True)
class Said:
    """An answer's text, its tokens, and what each of its tokens was told to come from.

    Attributes:
        steps: token by token the mixture's weights, where they follow the answer.
    """

    text: str
    generated: Generated
    steps: list[dict[str, float]]


def tokens_of(server: RunningServer, messages: Messages) -> list[int]:
    """A chat's prompt as the engine sees it."""
    with server.client() as client:
        answer = client.post("/tokenize", json={"model": server.base, "messages": list(messages)})
    assert answer.status_code == 200, answer.text
    tokens: list[int] = answer.json()["tokens"]
    return tokens


def say(
    server: RunningServer,
    messages: Messages,
    body: dict[str, Any],
    *,
    max_tokens: int,
    stream: bool = False,
) -> Said:
    """Ask for the next message, greedily."""
    asked = {
        "model": server.base,
        "messages": list(messages),
        "max_tokens": max_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "logprobs": True,
        "top_logprobs": TOP,
        "return_tokens_as_token_ids": True,
        **body,
    }
    return _streamed(server, asked) if stream else _whole(server, asked)


def _whole(server: RunningServer, asked: dict[str, Any]) -> Said:
    with server.client() as client:
        answer = client.post("/v1/chat/completions", json=asked)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        steps: list[dict[str, float]] = []
        if "trace" in told:
            name = answer.headers["x-request-id"]
            trace = client.get(f"/v1/traces/{name}", params={"expand": "true"}).json()
            steps = [step["weights"] for step in trace["choices"][0]["per_token"]]
    choice = told["choices"][0]
    generated = _generated(choice["logprobs"]["content"], told["usage"], told["mixture"])
    return Said(choice["message"]["content"], generated, steps)


def _streamed(server: RunningServer, asked: dict[str, Any]) -> Said:
    options = {"include_mixture": True, "include_usage": True}
    body = {**asked, "stream": True, "stream_options": options}
    text, content, steps = "", [], []
    mixture: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    with (
        server.client() as client,
        client.stream("POST", "/v1/chat/completions", json=body) as answer,
    ):
        for line in answer.iter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line.removeprefix("data: "))
            usage = chunk.get("usage") or usage
            mixture = mixture or chunk["mixture"]
            for choice in chunk["choices"]:
                text += choice["delta"].get("content") or ""
                tokens = (choice.get("logprobs") or {}).get("content") or []
                content += tokens
                told = chunk.get("mixtures") or [chunk["mixture"]]
                steps += [one.get("weights", one.get("adapters")) for one in told][: len(tokens)]
    return Said(text, _generated(content, usage, mixture), steps)


def _generated(
    content: list[dict[str, Any]], usage: dict[str, Any], mixture: dict[str, Any]
) -> Generated:
    details = usage.get("prompt_tokens_details") or {}
    return Generated(
        [_token(one["token"]) for one in content],
        [{_token(top["token"]): top["logprob"] for top in one["top_logprobs"]} for one in content],
        details.get("cached_tokens") or 0,
        mixture,
    )


def _token(name: str) -> int:
    return int(name.removeprefix("token_id:"))
