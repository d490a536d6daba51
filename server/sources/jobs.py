"""Jobs: work that outlives the request that asked for it. Kept in memory alone, and in bounds.

A restart forgets them. What an import was at is in the staging folder, which is emptied at start; a
removal goes on with the next start.
"""

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar, cast

from server.edge.errors.error_status import error_body
from server.errors import JobCancelled, JobNotFound, NotReady, TooManyJobs
from server.sources.progress import FetchProgress

logger = logging.getLogger(__name__)

Kind = Literal["import", "removal"]
State = Literal["queued", "running", "done", "failed", "cancelled"]
Step = Literal["waiting", "fetching", "adding", "removing", "ended"]
Work = Callable[["Job"], Awaitable[Mapping[str, Any]]]
"""What a job does; gives the adapter as the wire shows it."""

CANCEL_WAIT_S: Final = 15.0
_RETRY_S = 30

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Job:
    """One import, or one removal. Times are in seconds since 1970 (UTC).

    Attributes:
        source: where an import comes from; empty for a removal.
        progress: how far it is; cancels an import.
        adapter: what it has brought or removed, once it is done.
        error: what it has failed at, as an answer would have it.
    """

    name: str
    source: str
    progress: FetchProgress
    kind: Kind = "import"
    id: str = field(default_factory=lambda: f"job-{uuid.uuid4().hex[:16]}")
    state: State = "queued"
    step: Step = "waiting"
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    adapter: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """The job as the wire has it."""
        return {
            "id": self.id,
            "object": "job",
            "kind": self.kind,
            "name": self.name,
            "source": self.source,
            "state": self.state,
            "step": self.step,
            "created": self.created,
            "started": self.started,
            "ended": self.ended,
            "bytes_done": self.progress.bytes_done,
            "bytes_total": self.progress.bytes_total,
            "adapter": self.adapter,
            "error": self.error,
        }


class Jobs:
    """The jobs of one server. One event loop only.

    Args:
        max_running: most that run at the same time; the others wait in order.
        max_jobs: most that are kept; the oldest ended one makes room.
        keep_s: how long an ended one is kept, in seconds.
    """

    def __init__(self, max_running: int, max_jobs: int, keep_s: float) -> None:
        self._max_jobs = max_jobs
        self._keep_s = keep_s
        self._running = asyncio.Semaphore(max_running)
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def all(self) -> list[Job]:
        """Every job that is kept, the latest first."""
        self._forget()
        return list(reversed(self._jobs.values()))

    def get(self, job_id: str) -> Job:
        """A job by its id.

        Raises:
            JobNotFound: there is none, or not any more.
        """
        self._forget()
        if job_id not in self._jobs:
            raise JobNotFound(
                f"there is no job {job_id[:64]!r}; ended jobs are forgotten after a while"
            )
        return self._jobs[job_id]

    def start(self, job: Job, work: Work) -> None:
        """Begin a job as soon as there is a place.

        Raises:
            TooManyJobs: as many as are kept have not ended.
            NotReady: the server is shutting down.
        """
        if self._closed:
            raise NotReady("the server is shutting down")
        self._forget()
        if len(self._jobs) >= self._max_jobs:
            raise TooManyJobs(
                f"{self._max_jobs} jobs have not ended yet; try again later", retry_after=_RETRY_S
            )
        self._jobs[job.id] = job
        self._tasks[job.id] = asyncio.create_task(self._run(job, work), name=job.id)

    def following(self, name: str, removal: asyncio.Task[None], adapter: Mapping[str, Any]) -> Job:
        """The job of a removal that goes on: the same one each time, and never refused.

        Args:
            name: of the adapter.
            removal: what ends with it.
            adapter: what is being removed, as the wire shows it.
        """
        self._forget()
        for job in self._jobs.values():
            if job.kind == "removal" and job.name == name and job.ended is None:
                return job
        job = Job(name, "", FetchProgress(0.0), kind="removal")
        job.state, job.step, job.started = "running", "removing", time.time()
        self._jobs[job.id] = job

        def end(task: asyncio.Task[None]) -> None:
            if task.cancelled():  # the server ends; the next start goes on with it
                return
            job.adapter = {**adapter, "resident": False, "leases": 0}
            self._end(job, "done")

        removal.add_done_callback(end)
        return job

    async def cancel(self, job_id: str) -> Job:
        """Tell a job to stop, and wait for that.

        What has ended, or only adds, is left alone, and so is a removal: it does not come back.

        Raises:
            JobNotFound: there is none.
        """
        job = self.get(job_id)
        if job.kind == "removal":
            return job
        job.progress.cancel()
        if job.state == "queued":
            self._end(job, "cancelled")
        task = self._tasks.get(job_id)
        if task is not None and job.state == "running":
            await asyncio.wait({task}, timeout=CANCEL_WAIT_S)
        return job

    async def close(self) -> None:
        """Cancel every job, and wait until none runs."""
        self._closed = True
        for job in self._jobs.values():
            job.progress.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, job: Job, work: Work) -> None:
        try:
            async with self._running:
                if job.state == "queued":
                    await self._do(job, work)
        finally:
            self._tasks.pop(job.id, None)

    async def _do(self, job: Job, work: Work) -> None:
        job.state, job.step, job.started = "running", "fetching", time.time()
        try:
            job.progress.check()
            job.adapter = await work(job)
        except JobCancelled:
            self._end(job, "cancelled")
        except Exception as error:  # whatever it failed at, the job says so, and others go on
            body = error_body(error)
            if body["error"]["code"] == "internal_error":
                logger.error("%s failed", job.id, exc_info=error)
            job.error = body["error"]
            self._end(job, "failed")
        else:
            self._end(job, "done")

    def _end(self, job: Job, state: State) -> None:
        job.state, job.step, job.ended = state, "ended", time.time()

    def _forget(self) -> None:
        """Drop what has ended long ago, and the oldest that has ended where there is no room."""
        ended = [job for job in self._jobs.values() if job.ended is not None]
        excess = len(self._jobs) - self._max_jobs + 1
        for number, job in enumerate(ended):
            if number < excess or time.time() - (job.ended or 0.0) > self._keep_s:
                self._jobs.pop(job.id, None)


async def in_thread(work: Callable[[], T], name: str) -> T:
    """Do something in a thread of its own, which ends with it.

    The threads that the event loop lends are few, and answers need them.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(cast(T, result))
        else:
            done.set_exception(error)

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            failure = error
        with suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
