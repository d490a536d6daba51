"""The jobs of a server, for asyncio: ``client.jobs``."""

from __future__ import annotations

import asyncio
import builtins
import time
from typing import TYPE_CHECKING

from loralloy_client import _job_requests as requests
from loralloy_client._async_connection import AsyncConnection
from loralloy_client._form import Progress
from loralloy_client._options import RoutingData
from loralloy_client.errors import TimedOut
from loralloy_client.resources import Adapter, Job, JobList

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncJobs:
    """Adapters that the server fetches itself, or still removes. Needs a key of role admin."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def import_adapter(
        self, name: str, source: str, *, replace: bool = False, **routing: Unpack[RoutingData]
    ) -> Job:
        """Let the server fetch an adapter; returns at once.

        Args:
            name: what requests will call it.
            source: ``hf://ORG/REPO@COMMIT[/FOLDER]``, ``s3://BUCKET/PREFIX``,
                ``https://HOST/PATH.zip`` or ``file:///FOLDER``, as far as the server's settings
                allow.
            replace: give a taken name this content as its next version.
            routing: as for an upload; examples as texts, not as a file.

        Raises:
            SourceNotAllowed: the server does not fetch from there.
            InvalidSource: the source cannot be read, or is not pinned.
        """
        request = requests.import_adapter(name, source, replace, routing)
        return await self._connection.send(request, Job)

    async def list(self) -> builtins.list[Job]:
        """Every job that the server keeps, the latest first."""
        return (await self._connection.send(requests.jobs(), JobList)).data

    async def get(self, job_id: str) -> Job:
        """How far a job is, or how it has ended."""
        return await self._connection.send(requests.job(job_id), Job)

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job; what has ended stays as it is, and a removal goes on."""
        return await self._connection.send(requests.cancel(job_id), Job)

    async def wait(
        self,
        job_id: str,
        timeout: float = 3600.0,
        *,
        every: float = 0.5,
        progress: Progress | None = None,
    ) -> Adapter:
        """Wait for a job to bring its adapter, or to remove it.

        Args:
            job_id: the job's id.
            timeout: seconds to wait at most; the job goes on without whoever waits.
            every: seconds between two questions.
            progress: called with bytes that have come and their total, 0 while nobody knows it.

        Raises:
            TimedOut: it has not ended in time.
            JobCancelled: it was cancelled.
            LoralloyError: what it has failed at.
        """
        end = time.monotonic() + timeout
        while True:
            job = await self.get(job_id)
            if progress is not None:
                progress(job.bytes_done, job.bytes_total or 0)
            if job.is_ended:
                return requests.brought(job)
            if time.monotonic() + every >= end:
                raise TimedOut(f"job {job.id} did not end in {timeout:g} s: it is {job.state}")
            await asyncio.sleep(every)
