"""Policies over HTTP: list, show, put, remove. Callers see those that they can use."""

import asyncio
from collections.abc import Set as AbstractSet
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from router.errors import UnknownPolicy
from router.policies import PolicyConfig
from router.policies.base import VERSION_LENGTH
from server.access.keys import Caller
from server.catalogue.names import barred
from server.catalogue.visibility import needed, shown_options
from server.edge.body.json_body import JSON, read_json
from server.edge.body.nulls import without_nulls
from server.routes.audited import audited
from server.routes.if_match import if_match
from server.routes.parts import CallerOf, Parts, PartsOf

router = APIRouter(tags=["policies"])

MAX_BYTES = 2**20
"""Of one policy, whose every version is kept for a while."""

_BODY: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {JSON: {"schema": {"type": "object"}}}}
}
"""What OpenAPI's schema says of the options, which the policy's kind decides."""


@router.get("/v1/policies")
async def list_policies(parts: PartsOf, caller: CallerOf) -> dict[str, Any]:
    """Every policy with its options."""
    policies, visible = parts.catalogue.router.policies, _visible(parts, caller)
    usable = {name: one for name, one in policies.items() if _is_usable(one, visible)}
    data = [
        {**_as_json(name, one, visible), **_origin(name, parts)} for name, one in usable.items()
    ]
    return {"object": "list", "data": data}


@router.get("/v1/policies/{name}")
async def get_policy(
    name: str, response: Response, parts: PartsOf, caller: CallerOf
) -> dict[str, Any]:
    """One policy; its version is its ``ETag``."""
    policies, visible = parts.catalogue.router.policies, _visible(parts, caller)
    if name not in policies:
        usable = [other for other, one in policies.items() if _is_usable(one, visible)]
        raise UnknownPolicy(name, usable)
    policy = policies[name]
    if not _is_usable(policy, visible):
        raise barred(name)
    shown = _as_json(name, policy, visible)
    response.headers["ETag"] = f'"{shown["version"]}"'
    return {**shown, **_origin(name, parts)}


@router.put(
    "/v1/policies/{name}",
    openapi_extra=_BODY,
    responses={201: {"description": "The name is new."}},
)
async def put_policy(
    name: str, request: Request, response: Response, parts: PartsOf
) -> dict[str, Any]:
    """Add a policy or replace one; the body has its options, as a file of policies has them.

    With ``If-Match: "VERSION"`` only if that is its version now (412 otherwise). 201 for a new
    name. Running requests keep the policy that they began with.
    """
    expected = if_match(request, VERSION_LENGTH)
    options = without_nulls(await read_json(request.scope, request.receive, MAX_BYTES))
    async with audited(request, parts, "policy.put", name) as detail:
        policy, is_new = await parts.policies.put(name, options, expected)
        detail |= {"version": policy.version, "created": is_new}
    response.status_code = 201 if is_new else 200
    response.headers["ETag"] = f'"{policy.version}"'
    return {**_as_json(name, policy, None), **_origin(name, parts)}


@router.get("/v1/policies/{name}/versions")
async def list_policy_versions(name: str, parts: PartsOf) -> dict[str, Any]:
    """The options that were put under a name and are kept, the latest first."""
    rows = await asyncio.to_thread(parts.policies.registry.versions, name)
    data = [
        {
            "number": row.number,
            "object": "version",
            "version": row.version,
            "created": int(row.created),
            "options": row.options,
        }
        for row in rows
    ]
    return {"object": "list", "data": data}


@router.delete("/v1/policies/{name}")
async def remove_policy(name: str, request: Request, parts: PartsOf) -> dict[str, Any]:
    """Remove what was put under a name; the file's policy, if there is one, counts again.

    409 for a policy of the file. ``If-Match`` as for a change.
    """
    expected = if_match(request, VERSION_LENGTH)
    async with audited(request, parts, "policy.remove", name) as detail:
        left = await parts.policies.remove(name, expected)
        file_version = None if left is None else left.version
        detail |= {"file_version": file_version}
    return {"id": name, "object": "policy", "deleted": True, "file_version": file_version}


def _visible(parts: Parts, caller: Caller) -> AbstractSet[str] | None:
    """The adapters that the caller sees; None for all."""
    return (
        None
        if caller.visible.is_all
        else parts.catalogue.visible_to(caller.visible).adapters.keys()
    )


def _is_usable(policy: PolicyConfig, visible: AbstractSet[str] | None) -> bool:
    return visible is None or needed(policy) <= visible


def _as_json(name: str, policy: PolicyConfig, visible: AbstractSet[str] | None) -> dict[str, Any]:
    return {
        "id": name,
        "object": "policy",
        "version": policy.version_among(visible),
        **shown_options(policy, visible),
    }


def _origin(name: str, parts: Parts) -> dict[str, str]:
    """Whether the policy was put over HTTP, or comes from the file."""
    return {"source": parts.policies.registry.source(name)}
