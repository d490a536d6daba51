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
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from server.engine.structured.settings import StructuredOutputSettings
from server.engine.structured.trial import Verdict

logger = logging.getLogger(__name__)

REMEMBERED_BYTES: Final = 256 * 2**20
"""Of what is compiled: half of what the engine keeps (vLLM's default), so that it has it still."""
REMEMBERED: Final = 1_000

_STREAM_LIMIT: Final = 2**24
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


@dataclass
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Compilations:
    """Tries constraints in processes that can be ended.

    Args:
        vocabulary: what to compile for.
        settings: the bounds.
        program: the arguments of Python that start the process that compiles.
    """

    def __init__(
        self,
        vocabulary: ModelVocabulary,
        settings: StructuredOutputSettings,
        program: Sequence[str] = ("-m", "server.engine.structured.compile_server"),
    ) -> None:
        self._vocabulary = vocabulary
        self._program = (sys.executable, *program)
        self._settings = settings
        self._places = asyncio.Semaphore(settings.max_compilations)
        self._turns: dict[str, _Turn] = {}
        self._known: OrderedDict[bytes, Verdict] = OrderedDict()
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
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
            if self._process is not None and self._process.returncode is None:
                return
            process = await asyncio.create_subprocess_exec(
                *self._program,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
                limit=_STREAM_LIMIT,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"},
            )
            try:
                await self._greet(process)
            except BaseException:
                await _ended(process)
                raise
            self._process = process
            self._reader = asyncio.create_task(self._read(process))

    async def _greet(self, process: asyncio.subprocess.Process) -> None:
        settings, vocabulary = self._settings, self._vocabulary
        assert process.stdin is not None
        assert process.stdout is not None
        first = {
            "model": vocabulary.model,
            "vocab_size": vocabulary.vocab_size,
            "model_type": vocabulary.model_type,
            "max_step_ms": settings.max_step_ms,
            "max_s": settings.max_compile_s,
            "max_mib": settings.max_compile_mib,
        }
        process.stdin.write(json.dumps(first).encode() + b"\n")
        if not await process.stdout.readline():
            raise CompilerGone("the process that compiles grammars did not start")

    async def close(self) -> None:
        """End the process, with whatever it compiles."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._process is not None:
            await _ended(self._process)

    async def _tried(self, constraint: Mapping[str, Any]) -> Verdict:
        assert self._process is not None
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
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise CompilerGone("the process that compiles grammars has ended") from None

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Give each answer to who waits for it, until the process ends."""
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                told = json.loads(line)
                waiting = self._waiting.get(told.pop("number"))
                if waiting is not None and not waiting.done():
                    waiting.set_result(Verdict(**told))
        finally:
            await _ended(process)
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


async def _ended(process: asyncio.subprocess.Process) -> None:
    """End a process, and with its group what it has forked."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
