"""Sends requests and waits for their answers."""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Iterator
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


class Stream(Generic[C]):
    """The chunks of an answer while it is made; a ``with`` closes it, and so does its end.

    Closing it before its end stops the generation.

    Attributes:
        request_id: the id under which a trace and the server's log are found.
    """

    def __init__(self, response: httpx.Response, kind: type[C]) -> None:
        self.request_id: str | None = response.headers.get(REQUEST_ID)
        self._response = response
        self._chunks = self._read(ChunkReader(kind, self.request_id))

    def __iter__(self) -> Iterator[C]:
        """The chunks, as they come."""
        return self

    def __next__(self) -> C:
        """The next chunk."""
        return next(self._chunks)

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
        """Stop listening; the server stops generating."""
        self._chunks.close()
        self._response.close()

    def _read(self, reader: ChunkReader[C]) -> Generator[C, None, None]:
        try:
            for piece in self._response.iter_bytes():
                yield from reader.feed(piece)
        except httpx.RequestError as error:
            raise failure_from(error) from error
        finally:
            self._response.close()
        reader.end()


class Connection:
    """One server, over HTTP: sends, repeats what may be repeated, and tells errors apart."""

    def __init__(
        self,
        config: Config,
        timeout: float | None,
        retries: Retries,
        http: httpx.Client | None,
    ) -> None:
        self._config = config
        self._timeout = timeout
        self._retries = retries
        self._http = http or httpx.Client()
        self._is_own = http is None

    def close(self) -> None:
        """Close the connections, unless they were given."""
        if self._is_own:
            self._http.close()

    def send(self, request: Request, kind: type[R]) -> R:
        """The answer to a request."""
        return record_in(kind, self._answered(request, stream=False))

    def stream(self, request: Request, kind: type[C]) -> Stream[C]:
        """The answer to a request, while it is made."""
        return Stream(self._answered(request, stream=True), kind)

    def _answered(self, request: Request, *, stream: bool) -> httpx.Response:
        """A response that is no error; its body is read unless it is streamed."""
        tried = 0
        while True:
            tried += 1
            try:
                response = self._try(request, stream=stream)
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
            time.sleep(pause)

    def _try(self, request: Request, *, stream: bool) -> httpx.Response:
        content = None if request.form is None else _pieces(request.form)
        fields = arguments(request, self._config, self._timeout)
        built = self._http.build_request(**fields, content=content)
        response = self._http.send(built, stream=True)
        if not (stream and response.is_success):
            try:
                response.read()
            finally:
                response.close()
        return response


def _pieces(form: Form) -> Iterator[bytes]:
    sent = 0
    form.tell(sent)
    for piece in form.pieces():
        yield piece
        sent += len(piece)
        form.tell(sent)
