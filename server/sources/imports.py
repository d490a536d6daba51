"""Imports: fetch an adapter, check it like an upload, add it; as a job, or while one waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from adapters.adapter import Adapter, RoutingData
from server.catalogue.catalogue import Catalogue
from server.catalogue.measurement import StillWanted, always_wanted
from server.sources.address import Source
from server.sources.fetch import Fetcher
from server.sources.jobs import Job, Jobs, in_thread
from server.sources.progress import FetchProgress


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What is to be imported.

    Attributes:
        routing: what the router may know of it; None for nothing.
        replace: give a taken name the content as its next version.
    """

    name: str
    source: Source
    routing: RoutingData | None = None
    replace: bool = False


class Imports:
    """Brings adapters from sources into the catalogue. One event loop only."""

    def __init__(self, catalogue: Catalogue, fetcher: Fetcher) -> None:
        settings = fetcher.settings
        self.fetcher = fetcher
        self.jobs = Jobs(settings.max_running, settings.max_jobs, settings.keep_s)
        self._catalogue = catalogue

    def job_of(self, request: ImportRequest) -> Job:
        """A job that has not begun."""
        return Job(request.name, request.source.shown, self._progress())

    async def run(
        self,
        request: ImportRequest,
        job: Job | None = None,
        still_wanted: StillWanted = always_wanted,
    ) -> tuple[Adapter, bool]:
        """Fetch and add; nothing is left behind unless it is added.

        Args:
            request: what is wanted.
            job: shows how far it is, and can cancel it until all is judged and measured.
            still_wanted: asked while centroids are measured, where there is no job.

        Returns:
            The adapter, and whether its content is new to the name.

        Raises:
            ServerError, AdapterError, RoutingError, EngineError: it could not be fetched or added.
        """
        progress = self._progress() if job is None else job.progress
        progress.begin()
        async with self._fetched(request.source, progress) as folder:
            progress.check()
            if job is not None:
                job.step = "adding"
                still_wanted = progress.still_wanted
            if request.replace and request.name in self._catalogue.names.adapters:
                return await self._catalogue.replace(
                    request.name, folder, request.routing, None, still_wanted
                )
            return await self._catalogue.add(request.name, folder, request.routing, still_wanted)

    @asynccontextmanager
    async def _fetched(self, source: Source, progress: FetchProgress) -> AsyncIterator[Path]:
        with self._catalogue.registry.store.staging() as stage:
            try:
                folder = await in_thread(
                    partial(self.fetcher.fetch, source, stage, progress), "import"
                )
            except asyncio.CancelledError:
                progress.cancel()  # nobody waits any more; the thread must not go on
                raise
            yield folder

    def _progress(self) -> FetchProgress:
        return FetchProgress(self.fetcher.settings.max_fetch_s)
