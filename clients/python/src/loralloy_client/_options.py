"""The keyword arguments of the methods that generate and push."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from loralloy_client.generations import Mixture


class GenerationOptions(TypedDict, total=False):
    """What every generation takes. At most one of mixture, policy and routing's policy decides.

    ``model`` names the base model, an adapter or a policy; ``mixture`` gives weights over adapters,
    ``policy`` names a policy, and ``routing`` changes its options for this request. Without any of
    them the server's default policy decides. ``extra_body`` holds fields that are not listed here,
    ``request_id`` names the request, and ``timeout`` are its seconds. The rest is OpenAI's and
    vLLM's.
    """

    model: str | None
    mixture: Mixture | Mapping[str, float] | None
    policy: str | None
    routing: Mapping[str, Any] | None
    max_tokens: int | None
    min_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    n: int | None
    seed: int | None
    stop: str | Sequence[str] | None
    stop_token_ids: Sequence[int] | None
    ignore_eos: bool | None
    presence_penalty: float | None
    frequency_penalty: float | None
    repetition_penalty: float | None
    logit_bias: Mapping[str, float] | None
    response_format: Mapping[str, Any] | None
    structured_outputs: Mapping[str, Any] | None
    stream_options: Mapping[str, Any] | None
    cache_salt: str | None
    user: str | None
    extra_body: Mapping[str, Any] | None
    request_id: str | None
    timeout: float | None


class ChatOptions(GenerationOptions, total=False):
    """What a chat takes besides."""

    max_completion_tokens: int | None
    logprobs: bool | None
    top_logprobs: int | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None


class CompletionOptions(GenerationOptions, total=False):
    """What a completion takes besides."""

    logprobs: int | None
    echo: bool | None
    suffix: str | None


class RoutingData(TypedDict, total=False):
    """What tells the router when to use an adapter.

    Attributes:
        description: one sentence; used where there are no examples.
        examples: texts that the adapter is for, or a file of them.
        centroids: points of an encoder's space.
        encoder: the name of the encoder that made them.
    """

    description: str | None
    examples: Sequence[str] | Path | None
    centroids: Sequence[Sequence[float]] | None
    encoder: str | None
