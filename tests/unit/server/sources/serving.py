"""A catalogue without an engine: registry, store, router and slots are real, nothing generates."""

from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
from fastapi import FastAPI
from starlette.middleware import Middleware

from adapters.limits import Limits
from adapters.registry.registry import AdapterRegistry
from adapters.validation.base_model import BaseModelShapes
from router.centroids.index import CentroidIndex
from router.encoders import Encoder
from router.policies.config import default_policies
from router.router import Router
from server.access.audit import AuditLog
from server.catalogue.catalogue import Catalogue
from server.edge.errors.error_shape import ErrorShape, handle_errors
from server.edge.guard import Guard
from server.metrics import Metrics
from server.residency.residency import Residency
from server.residency.slot_loader import Fetching
from server.routes import imports, vllm_loading
from server.sources.imports import Imports
from tests.support.access import database, guarded


class NoEngine:
    """What the catalogue needs of an engine: it takes every name, and every adapter."""

    model_name = "tiny-llama"

    def set_models(self, names: object) -> None:
        return

    async def load(self, digest: str, folder: Path, waiting: int = 1) -> None:
        assert folder.name == digest

    async def unload(self, digest: str) -> None:
        return


def make_catalogue(data_dir: Path, base: BaseModelShapes, encoder: Encoder) -> Catalogue:
    """A catalogue with its data in a folder."""
    engine = NoEngine()
    registry = AdapterRegistry(data_dir, base, Limits(), {"auto"})
    residency = Residency(Fetching(engine, registry.store), 4)
    router = Router(encoder, CentroidIndex(), default_policies())
    return Catalogue(engine, router, registry, residency, Metrics())


class Served:
    """An app with the routes of imports, and what stands behind them."""

    def __init__(self, folder: Path, fetcher, catalogue) -> None:
        self.catalogue = catalogue
        self.staging = folder / "data" / "staging"
        self.audit = AuditLog(database(folder), keep=100)
        self.fetcher = fetcher
        self.parts = SimpleNamespace(
            catalogue=catalogue,
            upload_limits=Limits(),
            residency=catalogue._residency,
            access=SimpleNamespace(audit=self.audit),
            settings=SimpleNamespace(
                sources=fetcher.settings, residency=SimpleNamespace(max_drain_s=5)
            ),
        )
        routes = [*imports.router.routes, *vllm_loading.router.routes]
        guard = Middleware(Guard, **guarded(routes=routes))
        self.app = FastAPI(middleware=[guard, Middleware(ErrorShape)], redirect_slashes=False)
        self.app.include_router(imports.router)
        self.app.include_router(vllm_loading.router)
        handle_errors(self.app)
        self.app.state.parts = self.parts

    @asynccontextmanager
    async def running(self):
        self.parts.imports = Imports(self.catalogue, self.fetcher)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            try:
                yield http
            finally:
                await self.parts.imports.jobs.close()

    def audited(self) -> list[tuple[str, str, str]]:
        entries = reversed(self.audit.page(100))
        return [(one.entry.action, one.entry.target, one.entry.outcome) for one in entries]
