"""A whole server but for the engine: real registry, router, residency, guard and routes.

What generates is played by a route that tells which mixture reached it.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from adapters.limits import Limits
from adapters.registry.registry import AdapterRegistry
from adapters.registry.storage import Locations, open_storage
from adapters.validation.base_model import read_base_model
from router.centroids.index import CentroidIndex
from router.encoders.base import Encoder
from router.policies import PolicyConfig
from router.router import Router
from server.access.access import Access
from server.access.key_refresh import KeyRefresh
from server.access.keys import Quota
from server.access.limits import Limiter
from server.access.rows import KeyRows
from server.app import _ENGINE_ROUTES, OWN_MODULES, layers
from server.catalogue.catalogue import Catalogue
from server.edge.body.json_route import take_read_bodies
from server.edge.errors.error_shape import handle_errors
from server.edge.settings import CorsSettings, LimitSettings
from server.engine.client.plan import required_plan
from server.generation.middleware import Collaborators
from server.generation.prompts import Api
from server.metrics import Metrics
from server.policies.catalogue import PolicyCatalogue
from server.policies.registry import PolicyRegistry
from server.residency.residency import Residency
from server.residency.slot_loader import Fetching
from server.routes.parts import Parts
from server.settings import Settings
from server.sources.fetch import Fetcher
from server.sources.imports import Imports
from server.sources.settings import SourceSettings
from server.traces.settings import TraceSettings
from server.traces.store import TraceStore
from tests.support.access import callers_of
from tests.support.tiny_llama import BASE_NAME

ADMIN = "the admin's key"
GENERATING = frozenset(api.value for api in Api)


@dataclass
class Engine:
    """What the catalogue and the slots need of one."""

    model_name: str = BASE_NAME
    named: set[str] = field(default_factory=set)
    held: dict[str, Path] = field(default_factory=dict)

    def set_models(self, names) -> None:
        self.named = set(names)

    async def load(self, digest: str, folder: Path, waiting: int = 1) -> None:
        assert (folder / "adapter_model.safetensors").is_file()
        self.held[digest] = folder

    async def unload(self, digest: str) -> None:
        del self.held[digest]


@dataclass(frozen=True)
class BareServer:
    """A running one.

    Attributes:
        http: as the admin.
        parts: what its routes work with.
        engine: what was loaded and named.
        keys: for more keys.
        app: what serves; it is running.
    """

    http: TestClient
    parts: Parts
    engine: Engine
    keys: KeyRows
    app: FastAPI

    def holding(self, key: str) -> dict[str, str]:
        """The headers of whoever holds a key."""
        return {"Authorization": f"Bearer {key}"}

    def push(self, name: str, folder: Path, **fields: Any) -> dict[str, Any]:
        """Upload an adapter."""
        answer = self.http.post(
            "/v1/adapters", data={"name": name, **fields}, files=files_of(folder)
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    def replace(self, name: str, folder: Path) -> dict[str, Any]:
        """Give an adapter new content."""
        answer = self.http.put(f"/v1/adapters/{name}", files=files_of(folder))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def applied(self, **body: Any) -> dict[str, Any]:
        """What reaches the engine of a completion: model, and (name, digest, weight)s."""
        answer = self.http.post("/v1/completions", json={"prompt": "one two", **body})
        assert answer.status_code == 200, answer.text
        return answer.json()


def files_of(folder: Path) -> dict[str, tuple[str, bytes]]:
    """The two files of an adapter, as a form has them."""
    names = {"config": "adapter_config.json", "file": "adapter_model.safetensors"}
    return {field: (name, (folder / name).read_bytes()) for field, name in names.items()}


@contextmanager
def bare_server(
    folder: Path,
    base: Path,
    encoder: Encoder,
    from_file: dict[str, PolicyConfig],
    *,
    locations: Locations | None = None,
    slots: int = 4,
    cors: CorsSettings | None = None,
    sources: SourceSettings | None = None,
    limits: LimitSettings | None = None,
) -> Iterator[BareServer]:
    """Serve until the block is left."""
    storage = open_storage(locations or Locations(folder / "data"))
    policy_registry = PolicyRegistry(storage.database, from_file)
    of_uploads = Limits(max_versions=3)
    shapes = read_base_model(base, BASE_NAME)
    registry = AdapterRegistry(
        folder / "data", shapes, of_uploads, lambda: policy_registry.names, storage
    )
    engine, metrics = Engine(), Metrics(slots)
    router = Router(encoder, CentroidIndex(), from_file, max_members=slots)
    residency = Residency(Fetching(engine, registry.store), slots)
    catalogue = Catalogue(engine, router, registry, residency, metrics)
    policy_catalogue = PolicyCatalogue(catalogue, policy_registry, metrics)
    policy_catalogue.open()
    key_rows, callers = KeyRows(storage.database), callers_of(ADMIN, quota=Quota())
    access = Access(callers, Limiter(), KeyRefresh(key_rows, callers), _audit(storage.database))
    traces = TraceStore(TraceSettings())
    settings = Settings(
        data_dir=folder / "data",
        cors=cors or CorsSettings(),
        sources=sources or SourceSettings(),
        limits=limits or LimitSettings(),
    )
    parts = Parts(
        settings=settings,
        engine=SimpleNamespace(settings=None, failed=False),
        access=access,
        residency=residency,
        catalogue=catalogue,
        policies=policy_catalogue,
        imports=Imports(catalogue, Fetcher(settings.sources, of_uploads)),
        upload_limits=of_uploads,
        traces=traces,
        metrics=metrics,
    )
    held_to = settings.fitted_limits
    app = _app(parts, Collaborators(catalogue, residency, metrics, held_to, str, traces))
    with TestClient(app, headers={"Authorization": f"Bearer {ADMIN}"}) as http:
        yield BareServer(http, parts, engine, key_rows, app)


def _audit(database):
    from server.access.audit import AuditLog

    return AuditLog(database, 1000)


def _app(parts: Parts, collaborators: Collaborators) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await parts.catalogue.open()
        parts.ready = True
        yield
        await parts.imports.jobs.close()
        await parts.catalogue.removals.close()
        await parts.residency.close()
        parts.catalogue.registry.close()

    app: FastAPI = FastAPI(
        lifespan=lifespan,
        redirect_slashes=False,
        middleware=layers(
            parts.access, collaborators, lambda: app.router.routes, parts.settings.cors
        ),
    )
    for path in sorted(_ENGINE_ROUTES):
        method = "GET" if path.endswith("{response_id}") else "POST"
        app.add_api_route(path, _generated if path in GENERATING else _echo, methods=[method])
    take_read_bodies(app.router.routes)
    for module in OWN_MODULES:
        app.include_router(module.router)
    handle_errors(app)
    app.state.parts = parts
    return app


async def _generated(request: Request) -> dict[str, Any]:
    """Plays the engine, which generates by a plan and refuses without one."""
    mixtures = required_plan().mixtures
    return {
        "model": (await request.json()).get("model"),
        "reached": [[m.name, m.digest, m.weight] for one in mixtures for m in one.members],
    }


async def _echo(request: Request) -> dict[str, Any]:
    """Plays those of the engine's routes that generate nothing."""
    return dict(await request.json()) if await request.body() else {}
