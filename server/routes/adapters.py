"""Adapters over HTTP: upload, replace, describe, restore, list, show, remove."""

import asyncio
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from adapters.adapter import Adapter
from adapters.names import check_name
from adapters.registry.snapshot import unknown
from server.access.keys import Caller
from server.catalogue.describe import describe
from server.edge.body.json_route import JsonRoute
from server.edge.disconnect import while_there
from server.errors import InvalidRequest
from server.routes.audited import audited
from server.routes.if_match import expected_tag
from server.routes.parts import CallerOf, Parts, PartsOf
from server.routes.upload_form import (
    FIELDS,
    REPLACEMENT_BODY,
    ROUTING_BODY,
    UPLOAD_BODY,
    form_of,
    read_routing_fields,
    staged,
)
from server.sources.jobs import Job

router = APIRouter(tags=["adapters"], route_class=JsonRoute)

_SHOWN_EXAMPLES = 3
_DIGEST_CHARACTERS = 64


@router.post(
    "/v1/adapters",
    status_code=201,
    responses={200: {"description": "It was there already."}},
    openapi_extra=UPLOAD_BODY,
)
async def add_adapter(request: Request, response: Response, parts: PartsOf) -> dict[str, Any]:
    """Take in an adapter: ``name``, then ``file`` and ``config``, or ``archive``.

    For the router: ``examples``, ``description``, or ``centroids``. 201 for a new adapter, 200 for
    the same content again.
    """
    async with form_of(request, FIELDS, parts.upload_limits) as form:
        name = form.get("name")
        if not isinstance(name, str):
            raise InvalidRequest("the field 'name' is missing", param="name")
        check_name(name)
        async with audited(request, parts, "adapter.add", name) as detail:
            parts.catalogue.check_name(name)
            async with staged(form, parts) as (stage, routing):
                adapter, created = await parts.catalogue.add(
                    name, stage, routing, while_there(request)
                )
            detail |= {**_version(adapter), "created": created}
    response.status_code = 201 if created else 200
    return _tagged(adapter, response, parts)


@router.put("/v1/adapters/{name}", openapi_extra=REPLACEMENT_BODY)
async def replace_adapter(
    name: str, request: Request, response: Response, parts: PartsOf
) -> dict[str, Any]:
    """Give a name new content as its next version; fields as for an upload, without ``name``.

    With ``If-Match: "DIGEST"`` only if that is its content now (412 otherwise). Routing data that
    are not given stay. Running requests keep the content that they began with.
    """
    expected = expected_tag(request, _DIGEST_CHARACTERS)
    parts.catalogue.registry.now(name, expected)
    parts.catalogue.refuse_removed(name)
    async with (
        form_of(request, FIELDS - {"name"}, parts.upload_limits) as form,
        audited(request, parts, "adapter.replace", name) as detail,
        staged(form, parts) as (stage, routing),
    ):
        adapter, _ = await parts.catalogue.replace(
            name, stage, routing, expected, while_there(request)
        )
        detail |= _version(adapter)
    return _tagged(adapter, response, parts)


@router.patch("/v1/adapters/{name}", openapi_extra=ROUTING_BODY)
async def describe_adapter(
    name: str, request: Request, response: Response, parts: PartsOf
) -> dict[str, Any]:
    """Change what the router knows of an adapter: ``examples``, ``description``, ``centroids``.

    As a form or as JSON; what is not given stays, and an empty field or null takes away. The
    content and its version stay; ``If-Match`` as for a replacement.
    """
    expected = expected_tag(request, _DIGEST_CHARACTERS)
    parts.catalogue.registry.now(name, expected)
    parts.catalogue.refuse_removed(name)
    fields = await read_routing_fields(request, parts.upload_limits)
    async with audited(request, parts, "adapter.describe", name) as detail:
        adapter = await describe(parts.catalogue, name, fields, expected, while_there(request))
        detail |= {**_version(adapter), "fields": sorted(fields)}
    return _tagged(adapter, response, parts)


@router.get("/v1/adapters/{name}/versions")
async def list_versions(name: str, parts: PartsOf, caller: CallerOf) -> dict[str, Any]:
    """The contents that a name has had, the latest first."""
    _check_visible(name, caller)
    versions = await asyncio.to_thread(parts.catalogue.registry.versions, name)
    data = [{**asdict(one), "created": int(one.created), "object": "version"} for one in versions]
    return {"object": "list", "data": data}


class Restore(BaseModel):
    """Which version to go back to."""

    model_config = ConfigDict(extra="forbid")

    digest: str = Field(
        max_length=_DIGEST_CHARACTERS,
        description="The version's digest, or its first 8 characters or more.",
    )


@router.post("/v1/adapters/{name}/restore")
async def restore_adapter(
    name: str, body: Restore, request: Request, response: Response, parts: PartsOf
) -> dict[str, Any]:
    """Make an earlier content of a name its next version; ``If-Match`` as for a replacement."""
    expected = expected_tag(request, _DIGEST_CHARACTERS)
    async with audited(request, parts, "adapter.restore", name) as detail:
        adapter = await parts.catalogue.restore(name, body.digest, expected)
        detail |= _version(adapter)
    return _tagged(adapter, response, parts)


@router.get("/v1/adapters")
async def list_adapters(parts: PartsOf, caller: CallerOf) -> dict[str, Any]:
    """Every adapter that the caller may use, and those of them that are being removed."""
    names = parts.catalogue.visible_to(caller.visible)
    every = {**names.adapters, **names.removing}
    data = [adapter_as_json(adapter, parts) for _, adapter in sorted(every.items())]
    return {"object": "list", "data": data}


@router.get("/v1/adapters/{name}")
async def get_adapter(
    name: str, response: Response, parts: PartsOf, caller: CallerOf
) -> dict[str, Any]:
    """One adapter; its digest is its ``ETag``."""
    _check_visible(name, caller)
    return _tagged(parts.catalogue.registry.get(name), response, parts)


@router.delete(
    "/v1/adapters/{name}",
    responses={202: {"description": "Running requests still use it; a job has begun."}},
)
async def remove_adapter(
    name: str, request: Request, response: Response, parts: PartsOf
) -> dict[str, Any]:
    """Remove an adapter, once running requests are done with it.

    200 when it is gone. If that takes long, 202 with the job that ends with it: the name is
    `removing` from the beginning, and does not come back.
    """
    async with audited(request, parts, "adapter.remove", name) as detail:
        adapter, job = await removed(name, parts)
        detail |= _version(adapter) | ({} if job is None else {"job": job.id})
    answer = {"id": name, "object": "adapter", "digest": adapter.digest, "deleted": job is None}
    if job is None:
        return answer
    response.status_code = HTTPStatus.ACCEPTED
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return {**answer, "state": "removing", "job": job.as_json()}


async def removed(name: str, parts: Parts) -> tuple[Adapter, Job | None]:
    """Remove an adapter.

    Returns:
        What it was, and the job that ends with its removal where that takes long.
    """
    removal = await parts.catalogue.remove(name)
    if await removal.ended_within(parts.settings.residency.max_drain_s):
        removal.task.result()
        return removal.adapter, None
    shown = adapter_as_json(removal.adapter, parts)
    return removal.adapter, parts.imports.jobs.following(name, removal.task, shown)


def adapter_as_json(adapter: Adapter, parts: Parts) -> dict[str, Any]:
    """An adapter as the wire shows it: never a path of the server."""
    routing = adapter.routing
    return {
        "id": adapter.name,
        "object": "adapter",
        "digest": adapter.digest,
        "version": adapter.version,
        "created": int(adapter.created),
        "state": "removing" if adapter.removing else "serving",
        "base_model": adapter.base_model,
        "parent": parts.catalogue.base,
        "rank": adapter.rank,
        "ranks": adapter.ranks,
        "lora_alpha": adapter.lora_alpha,
        "target_modules": adapter.target_modules,
        "size_bytes": adapter.size_bytes,
        "parameters": adapter.parameters,
        "warnings": adapter.warnings,
        "resident": adapter.digest in parts.residency.resident,
        "leases": parts.residency.leases_of(adapter.digest),
        "routing": {
            "description": routing.description,
            "examples": len(routing.examples),
            "first_examples": [text[:200] for text in routing.examples[:_SHOWN_EXAMPLES]],
            "has_centroid": bool(routing.centroids),
            "centroids": len(routing.centroids),
            "encoder": routing.encoder,
        },
    }


def _version(adapter: Adapter) -> dict[str, Any]:
    return {"digest": adapter.digest, "version": adapter.version}


def _check_visible(name: str, caller: Caller) -> None:
    """Answer as if there were none of this name, without looking whether there is."""
    if not caller.visible.allows(name):
        raise unknown(name)


def _tagged(adapter: Adapter, response: Response, parts: Parts) -> dict[str, Any]:
    response.headers["ETag"] = f'"{adapter.digest}"'
    return adapter_as_json(adapter, parts)
