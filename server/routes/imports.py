"""Adapters that the server fetches itself, as jobs: begin, look, cancel."""

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from adapters.adapter import RoutingData
from adapters.names import check_name
from adapters.routing_data import ROUTING_FIELDS, check_routing
from server.catalogue.routing_data import parse_routing
from server.edge.body.json_route import JsonRoute
from server.errors import InvalidRequest
from server.routes.adapters import adapter_as_json
from server.routes.audited import Actor, audited, audited_for
from server.routes.parts import Parts, PartsOf
from server.sources.address import MAX_CHARACTERS, parse_source
from server.sources.imports import ImportRequest
from server.sources.jobs import Job

router = APIRouter(tags=["adapters"], route_class=JsonRoute)

_MAX_ROUTING_BYTES = 2**21
"""Of one job: what waits is kept in memory, many times over."""


class Import(BaseModel):
    """What is to be imported, and as what."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="What requests will call the adapter.")
    source: Annotated[str, Field(max_length=MAX_CHARACTERS)] = Field(
        description="hf://ORG/REPO@COMMIT[/FOLDER], s3://BUCKET/PREFIX, https://HOST/PATH.zip "
        "(or .tar.gz), file:///FOLDER."
    )
    replace: bool = Field(
        default=False, description="Give a taken name this content as its next version."
    )
    examples: list[str] | None = Field(default=None, description="Texts that it is for.")
    description: str | None = Field(default=None, description="What it is for, in a sentence.")
    centroids: list[list[float]] | None = Field(
        default=None, description="Points of the encoder's space that stand for it."
    )
    encoder: str | None = Field(default=None, description="Name of the encoder that made them.")


@router.post("/v1/imports", status_code=202)
async def start_import(
    body: Import, request: Request, response: Response, parts: PartsOf
) -> dict[str, Any]:
    """Fetch an adapter from a source that the settings allow; answers with the job at once."""
    check_name(body.name)
    actor, noted = Actor.of(request), asyncio.Event()
    try:
        async with audited(request, parts, "import.start", body.name) as detail:
            parts.catalogue.check_name(body.name)
            source = parse_source(body.source)
            detail["source"] = source.shown
            parts.imports.fetcher.check(source)
            wanted = ImportRequest(
                body.name, source, await asyncio.to_thread(_routing, body, parts), body.replace
            )
            job = parts.imports.job_of(wanted)
            detail["job"] = job.id

            async def work(job: Job) -> dict[str, Any]:
                await noted.wait()  # the log has the beginning before the end
                return await _bring(parts, wanted, job, actor)

            parts.imports.jobs.start(job, work)
    finally:
        noted.set()
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job.as_json()


@router.get("/v1/jobs")
async def list_jobs(parts: PartsOf) -> dict[str, Any]:
    """Every job that is kept, the latest first."""
    return {"object": "list", "data": [job.as_json() for job in parts.imports.jobs.all()]}


@router.get("/v1/jobs/{job_id}")
async def get_job(job_id: str, parts: PartsOf) -> dict[str, Any]:
    """How far a job is, or how it has ended."""
    return parts.imports.jobs.get(job_id).as_json()


@router.delete("/v1/jobs/{job_id}")
async def cancel_job(job_id: str, request: Request, parts: PartsOf) -> dict[str, Any]:
    """Cancel a job. What has ended stays as it is, and so does what is being added already."""
    job = parts.imports.jobs.get(job_id)
    async with audited(request, parts, "import.cancel", job.name) as detail:
        detail["job"] = job.id
        job = await parts.imports.jobs.cancel(job_id)
        detail["state"] = job.state
    return job.as_json()


async def _bring(parts: Parts, wanted: ImportRequest, job: Job, actor: Actor) -> dict[str, Any]:
    """The whole job; the audit log has how it ended."""
    audit = parts.access.audit
    async with audited_for(actor, audit, "adapter.import", wanted.name) as detail:
        detail |= {"source": job.source, "job": job.id}
        adapter, created = await parts.imports.run(wanted, job)
        detail |= {"digest": adapter.digest, "version": adapter.version, "created": created}
    return adapter_as_json(adapter, parts)


def _routing(body: Import, parts: Parts) -> RoutingData | None:
    """The routing data of a body, read as an upload's are."""
    fields = body.model_dump(include=set(ROUTING_FIELDS), exclude_none=True)
    if len(json.dumps(fields)) > _MAX_ROUTING_BYTES:
        raise InvalidRequest(
            f"the routing data of an import take at most {_MAX_ROUTING_BYTES} bytes"
        )
    space = parts.catalogue.router.encoder.space
    routing = parse_routing(fields, space.name, parts.upload_limits)
    return None if routing is None else check_routing(routing, parts.upload_limits)
