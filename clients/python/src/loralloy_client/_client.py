"""The client that waits."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

import httpx

from loralloy_client import _requests as requests
from loralloy_client._config import TIMEOUT_S, Config
from loralloy_client._connection import Connection, Stream
from loralloy_client._jobs import Jobs
from loralloy_client._namespaces import Adapters, Models, Policies
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


class Loralloy:
    """A Loralloy server.

    Use it in a ``with`` statement, or close it. It may be shared between threads.

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
        http: httpx.Client | None = None,
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
        self._connection = Connection(config, timeout, retries or Retries(), http)
        self.adapters = Adapters(self._connection)
        self.policies = Policies(self._connection)
        self.models = Models(self._connection)
        self.jobs = Jobs(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    @overload
    def chat(
        self,
        messages: str | requests.Messages,
        *,
        stream: Literal[False] = False,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletion: ...
    @overload
    def chat(
        self,
        messages: str | requests.Messages,
        *,
        stream: Literal[True],
        **options: Unpack[ChatOptions],
    ) -> Stream[ChatChunk]: ...
    @overload
    def chat(
        self,
        messages: str | requests.Messages,
        *,
        stream: bool,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletion | Stream[ChatChunk]: ...
    def chat(
        self,
        messages: str | requests.Messages,
        *,
        stream: bool = False,
        **options: Unpack[ChatOptions],
    ) -> ChatCompletion | Stream[ChatChunk]:
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
            return self._connection.stream(request, ChatChunk)
        return self._connection.send(request, ChatCompletion)

    @overload
    def complete(
        self,
        prompt: str | Sequence[str] | Sequence[int],
        *,
        stream: Literal[False] = False,
        **options: Unpack[CompletionOptions],
    ) -> Completion: ...
    @overload
    def complete(
        self,
        prompt: str | Sequence[str] | Sequence[int],
        *,
        stream: Literal[True],
        **options: Unpack[CompletionOptions],
    ) -> Stream[CompletionChunk]: ...
    @overload
    def complete(
        self,
        prompt: str | Sequence[str] | Sequence[int],
        *,
        stream: bool,
        **options: Unpack[CompletionOptions],
    ) -> Completion | Stream[CompletionChunk]: ...
    def complete(
        self,
        prompt: str | Sequence[str] | Sequence[int],
        *,
        stream: bool = False,
        **options: Unpack[CompletionOptions],
    ) -> Completion | Stream[CompletionChunk]:
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
            return self._connection.stream(request, CompletionChunk)
        return self._connection.send(request, Completion)

    def route(
        self,
        text: str | requests.Messages,
        *,
        policy: str | None = None,
        routing: Mapping[str, Any] | None = None,
    ) -> Route:
        """Ask what a policy would do with a text or a conversation, without generating."""
        return self._connection.send(requests.route(text, policy, routing), Route)

    def trace(self, request_id: str, *, expand: bool = False) -> Trace:
        """Ask which mixture made each token of a recent answer; ``expand`` lists every token."""
        request = requests.trace(request_id, expand=expand)
        return self._connection.send(request, Trace)

    def audit(self, *, limit: int = 100, before: int | None = None) -> AuditPage:
        """Ask what admins did, the latest first. Needs a key of role admin.

        Args:
            limit: how many entries at most, up to 1000.
            before: only entries of smaller ids: the last one's of the page before.
        """
        return self._connection.send(requests.audit(limit, before), AuditPage)

    def health(self) -> Health:
        """Ask whether the server lives."""
        return self._connection.send(requests.probe("/health"), Health)

    def ready(self) -> Ready:
        """Ask whether the server serves.

        Raises:
            NotReady: it is starting or stopping.
        """
        return self._connection.send(requests.probe("/ready"), Ready)

    def wait_until_ready(self, timeout: float = 300.0, *, every: float = 0.5) -> Ready:
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
                return self._connection.send(requests.ready(left), Ready)
            except LoralloyError as error:
                if not may_become_ready(error):
                    raise
                if time.monotonic() + every >= end:
                    raise TimedOut(f"the server was not ready in {timeout:g} s") from error
            time.sleep(every)
