"""The audit log, for admins."""

import asyncio
from typing import Any

from fastapi import APIRouter, Query

from server.routes.parts import PartsOf

router = APIRouter(tags=["access"])

_MOST = 1000


@router.get("/v1/audit")
async def list_audit(
    parts: PartsOf,
    limit: int = Query(100, ge=1, le=_MOST, description="Most entries."),
    before: int | None = Query(
        None, ge=1, le=2**63 - 1, description="Only entries of smaller ids."
    ),
) -> dict[str, Any]:
    """What admins did, the latest first; ``before`` the last id that came gives the next ones."""
    found = await asyncio.to_thread(parts.access.audit.page, limit + 1, before)
    data = [entry.as_json() for entry in found[:limit]]
    return {"object": "list", "data": data, "has_more": len(found) > limit}
