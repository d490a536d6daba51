"""Compilations as the server asks for them: bounded, remembered, and fair between keys.

Each key compiles one constraint at a time, and keys take turns; what has been compiled lately is
remembered, so that it is neither tried again nor, as the engine keeps more than that, compiled
again. Who stops waiting, as a client that has left, ends its compilation.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import signal
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any, Final

from server.engine import forkserver
from server.engine.structured.compile_server import TriesOut, make_compiler, serve
from server.engine.structured.settings import StructuredOutputSettings
from server.engine.structured.trial import Verdict

logger = logging.getLogger(__name__)

REMEMBERED_BYTES: Final = 256 * 2**20
"""Of what is compiled: half of what the engine keeps (vLLM's default), so that it has it still."""
REMEMBERED: Final = 1_000

_LIMIT: Final = 2**24
_UNSETTLED: Final = frozenset({"failed"})


class CompilerGone(Exception):
    """The process that compiles has ended; the next request starts another."""


@dataclass(frozen=True, slots=True)
class ModelVocabulary:
    """What grammars are compiled for.

    Attributes:
        model: the base model's folder.
        vocab_size: tokens that it knows.
        model_type: its config's.
    """

    model: str
    vocab_size: int
    model_type: str


@dataclass(frozen=True, slots=True)
class _Server:
    """The process that compiles, and the connection to it."""

    process: BaseProcess
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def end(self) -> None:
        """End it, and with its group what it has forked."""
        self.writer.close()
        if self.process.pid is not None and self.process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()  # if it had no group yet
        await asyncio.to_thread(self.process.join)


@dataclass
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Compilations:
    """Tries constraints in processes that can be ended.

    Args:
        vocabulary: what to compile for.
        settings: the bounds.
        make: makes what compiles, in a process of its own.
    """

    def __init__(
        self,
        vocabulary: ModelVocabulary,
        settings: StructuredOutputSettings,
        make: Callable[[dict[str, Any]], TriesOut] = make_compiler,
    ) -> None:
        self._vocabulary = vocabulary
        self._make = make
        self._settings = settings
        self._places = asyncio.Semaphore(settings.max_compilations)
        self._turns: dict[str, _Turn] = {}
        self._known: OrderedDict[bytes, Verdict] = OrderedDict()
        self._starting = asyncio.Lock()
        self._server: _Server | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Verdict]] = {}
        self._number = 0

    async def verdict(self, tenant: str, constraint: Mapping[str, Any]) -> Verdict:
        """Try a constraint, or remember what came of it.

        Args:
            tenant: whose request it is.
            constraint: the fields of vLLM's ``StructuredOutputsParams``; the order of what stands
                in a schema matters.

        Raises:
            CompilerGone: the process that compiles cannot be started, or has ended.
        """
        key = hashlib.sha256(json.dumps(constraint).encode()).digest()
        if (known := self._remembered(key)) is not None:
            return known
        async with self._turn(tenant):
            if (known := self._remembered(key)) is not None:
                return known
            async with self._places:
                found = await self._anew(constraint)
        self._remember(key, found)
        return found

    async def _anew(self, constraint: Mapping[str, Any]) -> Verdict:
        """Try a constraint; a second time if the process had ended meanwhile."""
        try:
            await self.start()
            return await self._tried(constraint)
        except CompilerGone as error:
            logger.warning("%s; it is started anew", error)
            await self.start()
            return await self._tried(constraint)

    async def start(self) -> None:
        """Start the process that compiles, if it does not run.

        Raises:
            CompilerGone: it does not start.
        """
        async with self._starting:
            if self._server is not None and self._server.process.is_alive():
                return
            ours, theirs = socket.socketpair()
            process = forkserver.context().Process(
                target=serve, args=(theirs, self._make, self._told()), daemon=True
            )
            with theirs:
                await asyncio.to_thread(process.start)
            server = _Server(process, *await asyncio.open_connection(sock=ours, limit=_LIMIT))
            try:
                if not await server.reader.readline():
                    raise CompilerGone("the process that compiles grammars did not start")
            except BaseException:
                await server.end()
                raise
            self._server = server
            self._reader = asyncio.create_task(self._read(server))

    def _told(self) -> dict[str, Any]:
        return {
            **asdict(self._vocabulary),
            "max_step_ms": self._settings.max_step_ms,
            "max_s": self._settings.max_compile_s,
            "max_mib": self._settings.max_compile_mib,
        }

    async def close(self) -> None:
        """End the process, with whatever it compiles."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._server is not None:
            await self._server.end()

    async def _tried(self, constraint: Mapping[str, Any]) -> Verdict:
        self._number += 1
        number, waiting = self._number, asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            await self._tell({"number": number, "constraint": dict(constraint)})
            verdict: Verdict = await waiting
            return verdict
        except asyncio.CancelledError:
            with contextlib.suppress(CompilerGone):
                await asyncio.shield(self._tell({"number": number}))
            raise
        finally:
            self._waiting.pop(number, None)

    async def _tell(self, what: Mapping[str, Any]) -> None:
        assert self._server is not None
        try:
            self._server.writer.write(json.dumps(what).encode() + b"\n")
            await self._server.writer.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise CompilerGone("the process that compiles grammars has ended") from None

    async def _read(self, server: "_Server") -> None:
        """Give each answer to who waits for it, until the process ends."""
        try:
            while line := await server.reader.readline():
                told = json.loads(line)
                waiting = self._waiting.get(told.pop("number"))
                if waiting is not None and not waiting.done():
                    waiting.set_result(Verdict(**told))
        finally:
            await server.end()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(
                        CompilerGone("the process that compiles grammars has ended")
                    )

    @asynccontextmanager
    async def _turn(self, tenant: str) -> AsyncIterator[None]:
        turn = self._turns.setdefault(tenant, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[tenant]

    def _remembered(self, key: bytes) -> Verdict | None:
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
        return known

    def _remember(self, key: bytes, verdict: Verdict) -> None:
        if verdict.outcome in _UNSETTLED:
            return
        self._known[key] = verdict
        size = sum(one.size for one in self._known.values())
        while self._known and (size > REMEMBERED_BYTES or len(self._known) > REMEMBERED):
            size -= self._known.popitem(last=False)[1].size
