"""Traces: which mixture made each token of a recent answer."""

from typing import Any

from fastapi import APIRouter, Query, Request

from server.routes.parts import PartsOf

router = APIRouter(tags=["routing"])


@router.get("/v1/traces/{request_id}")
def get_trace(
    request_id: str,
    request: Request,
    parts: PartsOf,
    expand: bool = Query(False, description="Add the weights of each token."),
) -> dict[str, Any]:
    """One trace, finished or not, by the request's id or the answer's own.

    That of another tenant is as if it had never been.
    """
    return parts.traces.get(request.state.tenant, request_id).as_json(expand=expand)
