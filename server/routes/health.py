"""Whether the server lives, whether it is ready, and what it counts."""

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from server.errors import EngineUnavailable, NotReady
from server.routes.parts import PartsOf

router = APIRouter(tags=["health"])


@router.get("/health")
async def health(parts: PartsOf) -> dict[str, str]:
    """Alive: the process answers and the engine has not died."""
    if parts.engine.failed:
        raise EngineUnavailable()
    return {"status": "ok"}


@router.get("/ready")
async def ready(parts: PartsOf) -> dict[str, Any]:
    """Ready: the engine applies mixtures, and every adapter on disk is indexed."""
    if parts.engine.failed:
        raise EngineUnavailable()
    if not parts.ready:
        raise NotReady("the server is starting; try again in a moment", retry_after=1)
    if parts.access.callers.needs_key:
        return {"status": "ready"}  # strangers and users are not told when adapters come and go
    return {
        "status": "ready",
        "adapters": len(parts.catalogue.names.adapters),
        "resident": len(parts.residency.resident),
    }


@router.get("/metrics", response_class=Response)
async def metrics(parts: PartsOf) -> Response:
    """Ours and vLLM's metrics in Prometheus' text format."""
    return Response(parts.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)
