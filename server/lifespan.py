"""What runs beside the requests, from the server's start to its end: background tasks."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from adapters.errors import AdapterError
from router.errors import RoutingError
from server.engine.engine import EmbeddedEngine
from server.engine.errors import EngineError
from server.routes.parts import Parts

logger = logging.getLogger(__name__)

STATS_EVERY_S = 5.0


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Index what is on disk while the health checks answer already; stop the engine at the end."""
    parts: Parts = app.state.parts
    opening = asyncio.create_task(_open(parts))
    reporting = asyncio.create_task(_report(parts.engine))
    syncing = asyncio.create_task(_sync_with_others(parts))
    await asyncio.to_thread(parts.access.key_refresh.start)
    try:
        yield
    finally:
        parts.ready = False
        tasks = (opening, reporting, syncing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await parts.imports.jobs.close()
        await parts.catalogue.removals.close()
        await parts.residency.close()
        await parts.engine.shutdown()
        await asyncio.to_thread(parts.access.key_refresh.stop)
        parts.catalogue.registry.close()


async def _open(parts: Parts) -> None:
    await parts.catalogue.open()
    if parts.settings.demo_adapters:
        try:
            added = await parts.catalogue.import_folder(parts.settings.demo_dir)
        except (AdapterError, RoutingError, EngineError) as error:
            logger.warning("the demo adapters were left out: %s", error)
        else:
            if added:
                logger.info("demo adapters: %s", ", ".join(added))
    parts.ready = True


async def _report(engine: EmbeddedEngine) -> None:
    """Keep vLLM's metrics fresh."""
    while not engine.failed:
        await engine.log_stats()
        await asyncio.sleep(STATS_EVERY_S)


async def _sync_with_others(parts: Parts) -> None:
    """Take up what other servers change, where they share a database."""
    if not parts.catalogue.registry.is_shared:
        return
    last_warning = ""
    while True:
        await asyncio.sleep(parts.settings.storage.sync_s)
        if not parts.ready:
            continue
        try:
            await parts.catalogue.refresh()
            await parts.policies.refresh()
        except (AdapterError, RoutingError) as error:
            if str(error) != last_warning:  # once, not at every look
                logger.warning("changes of other servers cannot be taken up: %s", error)
            last_warning = str(error)
        else:
            last_warning = ""
