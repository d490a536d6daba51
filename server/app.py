"""The app: our layers around vLLM's routes, ours beside them.

    HeadAsGet → Cors → Guard → ErrorShape → TokeniseMiddleware → GenerationMiddleware → routes

What serves requests is put together here, and lives on ``app.state.parts``.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route

from adapters.limits import Limits
from adapters.registry.registry import AdapterRegistry
from router.router import Router
from server.access.access import Access
from server.catalogue.catalogue import Catalogue
from server.edge.body.json_route import take_read_bodies
from server.edge.cors import Cors
from server.edge.errors.error_shape import ErrorShape, handle_errors
from server.edge.guard import Guard
from server.edge.head import HeadAsGet
from server.edge.settings import CorsSettings
from server.engine.engine import EmbeddedEngine
from server.gauges import gauge_callers, gauge_engine, gauge_slots, gauge_traces
from server.generation.middleware import Collaborators, GenerationMiddleware
from server.generation.prompts import Decode
from server.generation.tokenise import TokeniseMiddleware
from server.lifespan import lifespan
from server.metrics import ADAPTERS_OF_REQUESTS, Metrics
from server.policies.catalogue import PolicyCatalogue
from server.policies.registry import PolicyRegistry
from server.residency.residency import Residency
from server.residency.slot_loader import Fetching
from server.routes import (
    adapters,
    audit,
    health,
    imports,
    lora_adapters,
    models,
    policies,
    route,
    traces,
    vllm_loading,
)
from server.routes.openapi import DocumentedApp
from server.routes.parts import Parts
from server.settings import Settings
from server.sources.fetch import Fetcher
from server.sources.imports import Imports
from server.traces.store import TraceStore

logger = logging.getLogger(__name__)


_ENGINE_ROUTES = frozenset(
    {
        *("/v1/chat/completions", "/v1/completions", "/v1/responses"),
        *("/v1/responses/{response_id}", "/v1/responses/{response_id}/cancel"),
        *("/tokenize", "/detokenize"),
    }
)
"""The routes of vLLM that are served; whatever else its routers bring is taken out."""

OWN_MODULES = (
    *(health, models, adapters, imports, vllm_loading, lora_adapters, policies, route, traces),
    audit,
)
"""Where our own routes are."""

_OWN_PAGES = frozenset({"/openapi.json", "/docs", "/docs/oauth2-redirect"})
"""FastAPI's, of what it serves by itself."""


async def create_app(
    settings: Settings,
    engine: EmbeddedEngine,
    router: Router,
    registry: AdapterRegistry,
    access: Access,
    policy_registry: PolicyRegistry,
) -> FastAPI:
    """Put the app together around a running engine."""
    metrics = Metrics(engine.settings.max_loras)
    residency = Residency(
        Fetching(engine, registry.store),
        engine.settings.max_loras,
        max_waiting=settings.residency.max_waiting,
        max_wait_s=settings.residency.max_wait_s,
        pinned=settings.residency.pinned,
        on_load=metrics.loads.observe,
    )
    catalogue = Catalogue(engine, router, registry, residency, metrics, settings.default_policy)
    policy_catalogue = PolicyCatalogue(catalogue, policy_registry, metrics)
    policy_catalogue.open()
    trace_store = TraceStore(settings.traces)
    collaborators = Collaborators(
        catalogue=catalogue,
        residency=residency,
        metrics=metrics,
        limits=settings.fitted_limits,
        decode=decoder(engine.model_path),
        traces=trace_store,
        engine_failed=lambda: engine.failed,
        structured=settings.structured_outputs,
    )
    app: FastAPI = DocumentedApp(
        title="Loralloy",
        version=_version(),
        description="One base model, many adapters, every request its own mixture.",
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=layers(access, collaborators, lambda: app.router.routes, settings.cors),
    )
    await engine.attach(app)
    _complete_routes(app)
    limits = upload_limits(settings)
    app.state.parts = Parts(
        settings=settings,
        engine=engine,
        access=access,
        residency=residency,
        catalogue=catalogue,
        policies=policy_catalogue,
        imports=Imports(catalogue, Fetcher(settings.sources, limits)),
        upload_limits=limits,
        traces=trace_store,
        metrics=metrics,
    )
    _measure(app.state.parts)
    return app


def _complete_routes(app: FastAPI) -> None:
    """Of vLLM's routes keep those that are served; then add our own, and our words for errors."""
    app.router.routes[:] = [r for r in app.router.routes if _is_served(r)]
    take_read_bodies(app.router.routes)
    for module in OWN_MODULES:
        app.include_router(module.router)
    handle_errors(app)


def _measure(parts: Parts) -> None:
    """Let the metrics hear of tokens, and read the parts when they are asked."""
    parts.engine.tell_tokens(parts.metrics.count_tokens)
    parts.metrics.leave_out(ADAPTERS_OF_REQUESTS)
    gauge_slots(parts.metrics, parts.residency, parts.catalogue)
    gauge_callers(parts.metrics, parts.access)
    gauge_traces(parts.metrics, parts.traces)
    gauge_engine(parts.metrics, parts.engine)


def layers(
    access: Access,
    collaborators: Collaborators,
    routes: Callable[[], Iterable[BaseRoute]],
    cors: CorsSettings,
) -> list[Middleware]:
    """What stands around the routes, from the outside in.

    Args:
        access: who may do what.
        collaborators: what a generation needs.
        routes: gives the app's routes, once it has them.
        cors: which web pages may call.
    """
    return [
        Middleware(HeadAsGet),
        *([Middleware(Cors, settings=cors)] if cors.origins else []),
        Middleware(
            Guard,
            callers=access.callers,
            limiter=access.limiter,
            limits=collaborators.limits,
            routes=routes,
            origins=cors.named,
        ),
        Middleware(ErrorShape, engine_failed=collaborators.engine_failed),
        Middleware(
            TokeniseMiddleware, catalogue=collaborators.catalogue, limits=collaborators.limits
        ),
        Middleware(GenerationMiddleware, collaborators=collaborators),
    ]


def upload_limits(settings: Settings) -> Limits:
    """What an uploaded adapter is held to."""
    return Limits(
        max_lora_rank=settings.engine.max_lora_rank,
        max_weights_bytes=settings.limits.max_upload_bytes,
        accepted_bases=frozenset(settings.accepted_bases),
    )


def decoder(model: Path) -> Decode:
    """Token ids to text, by the base model's tokenizer, which is read when first asked for."""

    @cache
    def tokenizer() -> Any:  # noqa: ANN401 - the library is untyped
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(model, local_files_only=True)

    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer().decode(list(ids), skip_special_tokens=True))

    return decode


def _is_served(route: BaseRoute) -> bool:
    return isinstance(route, Route) and (route.path in _OWN_PAGES | _ENGINE_ROUTES)


def _version() -> str:
    with suppress(PackageNotFoundError):
        return version("loralloy")
    return "0"
