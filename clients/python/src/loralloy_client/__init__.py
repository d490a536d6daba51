"""Client of Loralloy, the server that mixes LoRA adapters for each request.

    from loralloy_client import Loralloy

    with Loralloy("http://127.0.0.1:8000") as client:
        answer = client.chat("Which gas do plants take in?", model="auto", max_tokens=60)
        print(answer.text, answer.mixture.adapters)

:class:`Loralloy` waits, :class:`AsyncLoralloy` is for asyncio; they differ in nothing else. Every
error is a :class:`LoralloyError`: see :mod:`loralloy_client.errors`.
"""

from loralloy_client._async_client import AsyncLoralloy
from loralloy_client._async_connection import AsyncStream
from loralloy_client._client import Loralloy
from loralloy_client._connection import Stream
from loralloy_client._options import ChatOptions, CompletionOptions, RoutingData
from loralloy_client._retry import Retries
from loralloy_client._version import __version__
from loralloy_client.errors import APIError, LoralloyError
from loralloy_client.generations import (
    AppliedMixture,
    ChatChunk,
    ChatCompletion,
    Completion,
    CompletionChunk,
    Mixture,
    Trace,
)
from loralloy_client.resources import Adapter, AuditEntry, AuditPage, Job, Model, Policy, Route

__all__ = [
    "APIError",
    "Adapter",
    "AppliedMixture",
    "AsyncLoralloy",
    "AsyncStream",
    "AuditEntry",
    "AuditPage",
    "ChatChunk",
    "ChatCompletion",
    "ChatOptions",
    "Completion",
    "CompletionChunk",
    "CompletionOptions",
    "Job",
    "Loralloy",
    "LoralloyError",
    "Mixture",
    "Model",
    "Policy",
    "Retries",
    "Route",
    "RoutingData",
    "Stream",
    "Trace",
    "__version__",
]
