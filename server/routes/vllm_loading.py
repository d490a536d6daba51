"""Loading and unloading in vLLM's words, out of the one folder that the settings name.

What vLLM calls loading is here to register an adapter and to serve it, and unloading is to remove
it: slots are filled and emptied as requests need them.
"""

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from adapters.names import check_name
from server.edge.body.json_route import JsonRoute
from server.edge.disconnect import while_there
from server.errors import InvalidSource, ServerError, SourceNotAllowed, UnsupportedParameter
from server.routes.adapters import removed
from server.routes.audited import audited
from server.routes.parts import Parts, PartsOf
from server.sources.address import MAX_CHARACTERS, FileSource
from server.sources.imports import ImportRequest

router = APIRouter(tags=["adapters"], route_class=JsonRoute)


class Load(BaseModel):
    """The body of vLLM's ``load_lora_adapter``."""

    model_config = ConfigDict(extra="forbid")

    lora_name: str = Field(description="What requests will call the adapter.")
    lora_path: str = Field(
        max_length=MAX_CHARACTERS,
        description="Its folder, or an archive: whole, or from the folder sources.file on.",
    )
    load_inplace: bool = Field(default=False, description="Give a taken name new content.")
    is_3d_lora_weight: bool = Field(default=False, description="Not supported; leave it out.")


class Unload(BaseModel):
    """The body of vLLM's ``unload_lora_adapter``."""

    model_config = ConfigDict(extra="forbid")

    lora_name: str = Field(description="The adapter's name.")
    lora_int_id: int | None = Field(default=None, description="Taken and ignored.")


@router.post("/v1/load_lora_adapter", response_class=PlainTextResponse)
async def load_lora_adapter(body: Load, request: Request, parts: PartsOf) -> PlainTextResponse:
    """Add an adapter from a folder of the server; when the answer comes, it can be used."""
    check_name(body.lora_name)
    action = "adapter.replace" if body.load_inplace else "adapter.add"
    async with audited(request, parts, action, body.lora_name) as detail:
        detail["path"] = body.lora_path
        _check_on(parts)
        if body.is_3d_lora_weight:
            raise UnsupportedParameter(
                "'is_3d_lora_weight' is not supported by this server; leave it out",
                param="is_3d_lora_weight",
            )
        if not body.lora_path or not body.lora_path.isprintable():
            raise InvalidSource(
                "'lora_path' must be the path of a folder or an archive", param="lora_path"
            )
        parts.catalogue.check_name(body.lora_name)
        wanted = ImportRequest(
            body.lora_name, FileSource(body.lora_path), replace=body.load_inplace
        )
        try:
            adapter, created = await parts.imports.run(wanted, still_wanted=while_there(request))
        except ServerError as error:
            if error.param == "source":  # what imports call it; this body has another word
                error.param = "lora_path"
            raise
        detail |= {"digest": adapter.digest, "version": adapter.version, "created": created}
    return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' added successfully.")


@router.post("/v1/unload_lora_adapter", response_class=PlainTextResponse)
async def unload_lora_adapter(body: Unload, request: Request, parts: PartsOf) -> PlainTextResponse:
    """Remove an adapter with all its versions, once running requests are done with it."""
    async with audited(request, parts, "adapter.remove", body.lora_name) as detail:
        _check_on(parts)
        adapter, job = await removed(body.lora_name, parts)
        detail |= {"digest": adapter.digest, "version": adapter.version}
        detail |= {} if job is None else {"job": job.id}
    if job is None:
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")
    return PlainTextResponse(
        f"Success: LoRA adapter '{body.lora_name}' is being removed: job {job.id} ends with it.",
        HTTPStatus.ACCEPTED,
        {"Location": f"/v1/jobs/{job.id}"},
    )


def _check_on(parts: Parts) -> None:
    if parts.settings.sources.file is None:
        raise SourceNotAllowed(
            "this server loads nothing from folders; the setting sources.file turns it on"
        )
