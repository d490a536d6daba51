"""The client for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

import httpx

from loralloy_client import _requests as requests
from loralloy_client._async_connection import AsyncConnection, AsyncStream
from loralloy_client._async_jobs import AsyncJobs
from loralloy_client._async_namespaces import AsyncAdapters, AsyncModels, AsyncPolicies
from loralloy_client._config import TIMEOUT_S, Config
from loralloy_client._options import ChatOptions, CompletionOptions
from loralloy_client._retry import Retries, may_become_ready
from loralloy_client.errors import LoralloyError, TimedOut
from loralloy_client.generations import (
    ChatChunk,
    ChatCompletion,
    Completion,
    CompletionChunk,
    Trace,
)
from loralloy_client.resources import AuditPage, Health, Ready, Route

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class AsyncLoralloy:
    """A Loralloy server, for asyncio.

    Use it in an ``async with`` statement, or close it. It belongs to one event loop.

    Attributes:
        adapters: the server's adapters.
        policies: its policies.
        models: every name that a generation can give as ``model``.
        jobs: adapters that the server fetches itself.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float | None = TIMEOUT_S,
        retries: Retries | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        """Name the server; nothing is sent yet.

        Args:
            base_url: its address; otherwise LORALLOY_URL, or ``http://127.0.0.1:8000``.
            api_key: a key that it knows; otherwise LORALLOY_API_KEY, or none.
            timeout: seconds that one read or write may take; None waits for ever.
            retries: how patiently requests are repeated.
            http: an httpx client to send with, for proxies and certificates; it stays open.

        Raises:
            ValueError: the address is none of HTTP.
        """
        config = Config.of(base_url, api_key)
        self._connection = AsyncConnection(config, timeout, retries or Retries(), http)
        self.adapters = AsyncAdapters(self._connection)
        self.policies = AsyncPolicies(self._connection)
        self.models = AsyncModels(self._connection)
        self.jobs = AsyncJobs(self._connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    @overload
    async def chat(
        self,
        messages: str | requests.Messages,
        *,
        stream: Literal[False] = False,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletion: ...
    @overload
    async def chat(
        self,
        messages: str | requests.Messages,
        *,
        stream: Literal[True],
        **options: Unpack[ChatOptions],
    ) -> AsyncStream[ChatChunk]: ...
    @overload
    async def chat(
        self,
        messages: str | requests.Messages,
        *,
        stream: bool,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletion | AsyncStream[ChatChunk]: ...
    async def chat(
        self,
        messages: str | requests.Messages,
        *,
        stream: bool = False,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletion | AsyncStream[ChatChunk]:
        """Ask for the next message of a conversation.

        Args:
            messages: the conversation as OpenAI has it; a text is one message of the user.
            stream: whether to get the answer while it is made.
            options: ``model``, ``mixture``, ``policy``, ``routing`` and what else
                :class:`ChatOptions` names.

        Raises:
            LoralloyError: whatever goes wrong.
        """
        request = requests.chat(messages, options, stream=stream)
        if stream:
            return await self._connection.stream(request, ChatChunk)
        return await self._connection.send(request, ChatCompletion)

    @overload
    async def complete(
        self,
        prompt: str | Sequence[str] | Sequence[int],
        *,
        stream: Literal[False] = False,
        **options: Unpack[CompletionOptions],
    ) -> Completion: ...
    @overload
    async def complete(
        self,
        prompt: str | Sequence[str] | Sequence[int],
        *,
        stream: Literal[True],
        **options: Unpack[CompletionOptions],
    ) -> AsyncStream[CompletionChunk]: ...
    @overload
    async def complete(
        self,
        prompt: str | Sequence[str] | Sequence[int],
        *,
        stream: bool,
        **options: Unpack[CompletionOptions],
    ) -> Completion | AsyncStream[CompletionChunk]: ...
    async def complete(
        self,
        prompt: str | Sequence[str] | Sequence[int],
        *,
        stream: bool = False,
        **options: Unpack[CompletionOptions],
    ) -> Completion | AsyncStream[CompletionChunk]:
        """Ask how a text goes on.

        Args:
            prompt: a text, several texts, or the token ids of one.
            stream: whether to get the answer while it is made.
            options: ``model``, ``mixture``, ``policy``, ``routing`` and what else
                :class:`CompletionOptions` names.

        Raises:
            LoralloyError: whatever goes wrong.
        """
        request = requests.complete(prompt, options, stream=stream)
        if stream:
            return await self._connection.stream(request, CompletionChunk)
        return await self._connection.send(request, Completion)

    async def route(
        self,
        text: str | requests.Messages,
        *,
        policy: str | None = None,
        routing: Mapping[str, Any] | None = None,
    ) -> Route:
        """Ask what a policy would do with a text or a conversation, without generating."""
        return await self._connection.send(requests.route(text, policy, routing), Route)

    async def trace(self, request_id: str, *, expand: bool = False) -> Trace:
        """Ask which mixture made each token of a recent answer; ``expand`` lists every token."""
        request = requests.trace(request_id, expand=expand)
        return await self._connection.send(request, Trace)

    async def audit(self, *, limit: int = 100, before: int | None = None) -> AuditPage:
        """Ask what admins did, the latest first. Needs a key of role admin.

        Args:
            limit: how many entries at most, up to 1000.
            before: only entries of smaller ids: the last one's of the page before.
        """
        return await self._connection.send(requests.audit(limit, before), AuditPage)

    async def health(self) -> Health:
        """Ask whether the server lives."""
        return await self._connection.send(requests.probe("/health"), Health)

    async def ready(self) -> Ready:
        """Ask whether the server serves.

        Raises:
            NotReady: it is starting or stopping.
        """
        return await self._connection.send(requests.probe("/ready"), Ready)

    async def wait_until_ready(self, timeout: float = 300.0, *, every: float = 0.5) -> Ready:
        """Wait for a server that is starting.

        Args:
            timeout: seconds to wait at most.
            every: seconds between two questions.

        Raises:
            TimedOut: it was not ready in time; the cause says what it was instead.
            EngineUnavailable: its engine has died, so that waiting is no use.
        """
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                return await self._connection.send(requests.ready(left), Ready)
            except LoralloyError as error:
                if not may_become_ready(error):
                    raise
                if time.monotonic() + every >= end:
                    raise TimedOut(f"the server was not ready in {timeout:g} s") from error
            await asyncio.sleep(every)
