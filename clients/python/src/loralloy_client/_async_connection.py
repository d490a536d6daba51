"""Sends requests and awaits their answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

import httpx

from loralloy_client._config import Config
from loralloy_client._events import ChunkReader
from loralloy_client._form import Form
from loralloy_client._replies import REQUEST_ID, failure_from, failure_in, record_in
from loralloy_client._requests import Request
from loralloy_client._retry import Retries
from loralloy_client._wire import arguments
from loralloy_client.errors import LoralloyError
from loralloy_client.generations import Chunk, Record

if TYPE_CHECKING:
    from typing_extensions import Self

R = TypeVar("R", bound=Record)
C = TypeVar("C", bound=Chunk)


class AsyncStream(Generic[C]):
    """The chunks of an answer while it is made; an ``async with`` closes it, and so does its end.

    Closing it before its end stops the generation.

    Attributes:
        request_id: the id under which a trace and the server's log are found.
    """

    def __init__(self, response: httpx.Response, kind: type[C]) -> None:
        self.request_id: str | None = response.headers.get(REQUEST_ID)
        self._response = response
        self._chunks = self._read(ChunkReader(kind, self.request_id))

    def __aiter__(self) -> AsyncIterator[C]:
        """The chunks, as they come."""
        return self

    async def __anext__(self) -> C:
        """The next chunk."""
        return await anext(self._chunks)

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
        """Stop listening; the server stops generating."""
        await self._chunks.aclose()
        await self._response.aclose()

    async def _read(self, reader: ChunkReader[C]) -> AsyncGenerator[C, None]:
        try:
            async for piece in self._response.aiter_bytes():
                for chunk in reader.feed(piece):
                    yield chunk
        except httpx.RequestError as error:
            raise failure_from(error) from error
        finally:
            await self._response.aclose()
        reader.end()


class AsyncConnection:
    """One server, over HTTP: sends, repeats what may be repeated, and tells errors apart."""

    def __init__(
        self,
        config: Config,
        timeout: float | None,
        retries: Retries,
        http: httpx.AsyncClient | None,
    ) -> None:
        self._config = config
        self._timeout = timeout
        self._retries = retries
        self._http = http or httpx.AsyncClient()
        self._is_own = http is None

    async def close(self) -> None:
        """Close the connections, unless they were given."""
        if self._is_own:
            await self._http.aclose()

    async def send(self, request: Request, kind: type[R]) -> R:
        """The answer to a request."""
        return record_in(kind, await self._answered(request, stream=False))

    async def stream(self, request: Request, kind: type[C]) -> AsyncStream[C]:
        """The answer to a request, while it is made."""
        return AsyncStream(await self._answered(request, stream=True), kind)

    async def _answered(self, request: Request, *, stream: bool) -> httpx.Response:
        """A response that is no error; its body is read unless it is streamed."""
        tried = 0
        while True:
            tried += 1
            try:
                response = await self._try(request, stream=stream)
            except httpx.RequestError as error:
                failure: LoralloyError = failure_from(error)
            else:
                if response.is_success:
                    return response
                failure = failure_in(response)
            pause = self._retries.pause(
                failure, request.repeat, tried=tried, chance=random.random()
            )
            if pause is None:
                raise failure
            await asyncio.sleep(pause)

    async def _try(self, request: Request, *, stream: bool) -> httpx.Response:
        content = None if request.form is None else _pieces(request.form)
        fields = arguments(request, self._config, self._timeout)
        built = self._http.build_request(**fields, content=content)
        response = await self._http.send(built, stream=True)
        if not (stream and response.is_success):
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response


async def _pieces(form: Form) -> AsyncIterator[bytes]:
    """The disk is read in a thread, so that other tasks go on."""
    pieces, sent = form.pieces(), 0
    form.tell(sent)
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
        sent += len(piece)
        form.tell(sent)
