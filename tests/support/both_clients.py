"""The asyncio client under the face of the other one, so that one test holds for both."""

import asyncio
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from loralloy_client import AsyncLoralloy, AsyncStream, Loralloy

KINDS = ("sync", "async")


class InLoop:
    """Runs the coroutines of an object, and of what they return, in one event loop."""

    def __init__(self, runner: asyncio.Runner, inner: Any) -> None:
        self._runner = runner
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if inspect.iscoroutinefunction(found):
            return lambda *args, **options: self._run(found(*args, **options))
        is_ours = type(found).__module__.startswith("loralloy_client._async")
        return InLoop(self._runner, found) if is_ours else found

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._run(anext(self._inner))
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> "InLoop":
        return self

    def __exit__(self, *about: object) -> None:
        self._run(self._inner.__aexit__(*about))

    def _run(self, awaitable: Any) -> Any:
        async def outcome() -> Any:
            return await awaitable

        result = self._runner.run(outcome())
        return InLoop(self._runner, result) if isinstance(result, AsyncStream) else result


@contextmanager
def client_of(kind: str, url: str, **options: Any) -> Iterator[Any]:
    """A client of either kind; both are used as the one that waits."""
    if kind == "sync":
        with Loralloy(url, **options) as client:
            yield client
        return
    with asyncio.Runner() as runner, InLoop(runner, AsyncLoralloy(url, **options)) as client:
        yield client
