"""Compilations in processes that can be ended, forked off a process of their own.

That one loads vLLM and the tokenizer once. For each job, a line of JSON that comes on a
connection, it forks a process that compiles and ends; past its processor time or memory the kernel
ends it, and if the job is called off this process does. What came of it is a line sent back, so
that nothing that a job does, be it a crash of a library, reaches anybody else.

It does nothing in threads, since it forks; and it ends when its input ends, with all its jobs.
"""

import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from server.engine.structured.trial import Compiler, Verdict, read_job

NICENESS: Final = 5
"""How far compilations step back behind whoever else wants the processor."""

PATIENCE: Final = 20.0
"""Times its processor time that a job may last by the clock, on a machine that is busy."""

_PR_SET_PDEATHSIG: Final = 1
_CHUNK: Final = 1 << 16


class TriesOut(Protocol):
    """What a job is done by."""

    def try_out(self, constraint: dict[str, Any]) -> Verdict:
        """Compile a constraint, and say what came of it."""


@dataclass
class _Job:
    number: int
    pid: int
    output: int
    ends_at: float
    said: bytes = field(default=b"", repr=False)
    is_late: bool = False


class CompileServer:
    """Serves jobs from one file descriptor, and answers on another.

    Args:
        compiler: tries constraints out, in the forked processes.
        jobs: where jobs come from.
        answers: where answers go; it may be the same.
        max_s: a job's processor time, in seconds.
        max_mib: a job's memory, in MiB, beside what all have.
    """

    def __init__(
        self, compiler: TriesOut, jobs: int, answers: int, max_s: float, max_mib: int
    ) -> None:
        self._compiler = compiler
        self._input = jobs
        self._answers = answers
        self._max_s = max_s
        self._max_mib = max_mib
        self._running: dict[int, _Job] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(jobs, selectors.EVENT_READ)
        self._rest = b""

    def serve(self) -> None:
        """Serve until the input ends; then every job is ended."""
        while True:
            for key, _ in self._selector.select(self._next_end()):
                if key.fd == self._input:
                    if not self._read_input():
                        for job in list(self._running.values()):
                            self._end(job)
                        return
                else:
                    self._read_job(key.data)
            now = time.monotonic()
            for job in list(self._running.values()):
                if now >= job.ends_at and not job.is_late:
                    job.is_late = True
                    os.kill(job.pid, signal.SIGKILL)

    def _next_end(self) -> float | None:
        ends = [job.ends_at for job in self._running.values() if not job.is_late]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _read_input(self) -> bool:
        chunk = os.read(self._input, _CHUNK)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            told = read_job(line.decode())
            if "constraint" in told:
                self._begin(told["number"], told["constraint"])
            elif (job := self._running.get(told["number"])) is not None:
                self._end(job)
        return bool(chunk)

    def _begin(self, number: int, constraint: dict[str, Any]) -> None:
        output, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(output)
                self._bound()
                _write(told, json.dumps(self._tried(constraint).to_wire()).encode())
                os._exit(0)
            finally:
                os._exit(1)
        os.close(told)
        job = _Job(number, pid, output, time.monotonic() + PATIENCE * self._max_s)
        self._running[number] = job
        self._selector.register(output, selectors.EVENT_READ, job)

    def _tried(self, constraint: dict[str, Any]) -> Verdict:
        try:
            return self._compiler.try_out(constraint)
        except MemoryError:
            return Verdict("memory")

    def _bound(self) -> None:
        """Let the kernel end this process where it takes more than it may."""
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - libraries print what strangers wrote
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        with contextlib.suppress(OSError, ValueError):
            pages = int(open("/proc/self/statm", encoding="ascii").read().split()[0])  # noqa: PTH123, SIM115
            most = pages * resource.getpagesize() + self._max_mib * 2**20
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, self._max_s)

    def _read_job(self, job: _Job) -> None:
        if job.number not in self._running:
            return
        chunk = os.read(job.output, _CHUNK)
        job.said += chunk
        if not chunk:
            self._answer(job, _verdict(job, self._reap(job)))

    def _end(self, job: _Job) -> None:
        os.kill(job.pid, signal.SIGKILL)
        self._reap(job)

    def _reap(self, job: _Job) -> int:
        del self._running[job.number]
        self._selector.unregister(job.output)
        os.close(job.output)
        return os.waitpid(job.pid, 0)[1]

    def _answer(self, job: _Job, verdict: dict[str, Any]) -> None:
        _write(self._answers, json.dumps({"number": job.number, **verdict}).encode() + b"\n")


def _verdict(job: _Job, status: int) -> dict[str, Any]:
    """What a job that has ended said, or what its end says."""
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 and job.said:
        return read_job(job.said.decode())
    killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if killed_by == signal.SIGPROF or job.is_late:
        return Verdict("time").to_wire()
    # What cannot get memory ends by abort, or by whatever its library makes of it.
    return Verdict("memory" if killed_by == signal.SIGABRT else "failed").to_wire()


def _write(to: int, whole: bytes) -> None:
    while whole:
        whole = whole[os.write(to, whole) :]


def serve(
    connection: socket.socket,
    make_compiler: Callable[[dict[str, Any]], TriesOut],
    told: dict[str, Any],
) -> None:
    """Serve the jobs that come on a connection, after a line that says that all is ready.

    Args:
        connection: where jobs come from and answers go.
        make_compiler: makes what tries constraints out.
        told: what it is made of, and what bounds a job: ``max_s`` and ``max_mib``.
    """
    os.setsid()  # what ends this process ends all jobs
    os.nice(NICENESS)
    os.environ.update(CUDA_VISIBLE_DEVICES="", TOKENIZERS_PARALLELISM="false")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    compiler = make_compiler(told)
    file = connection.fileno()
    _write(file, b'{"ready": true}\n')
    CompileServer(compiler, file, file, told["max_s"], told["max_mib"]).serve()


def make_compiler(told: dict[str, Any]) -> Compiler:
    """The compiler of the model that is served."""
    return Compiler(told["model"], told["vocab_size"], told["model_type"], told["max_step_ms"])
