"""The forms by which adapters come: read strictly, their files put into a folder."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from adapters.adapter import RoutingData
from adapters.archive import place_files, unpack_archive
from adapters.files import storage_errors
from adapters.limits import Limits
from adapters.routing_data import ROUTING_FIELDS
from server.catalogue.routing_data import RoutingFields, check_json_fields, parse_routing
from server.edge.body.json_body import JSON, media_type, read_json
from server.errors import InvalidRequest
from server.routes.parts import Parts

FORM: Final = "multipart/form-data"
FIELDS: Final = frozenset({"name", "file", "config", "archive", *ROUTING_FIELDS})
_TEXT: Final = {"type": "string"}
_FILE: Final = {"type": "string", "format": "binary"}
_ROUTING: Final = {
    "examples": {**_TEXT, "description": "JSON lines, or a text a line."},
    "description": _TEXT,
    "centroids": {**_TEXT, "description": "JSON: a list of vectors."},
    "encoder": {**_TEXT, "description": "The name of the space that they are of."},
}
_FILES: Final = {"file": _FILE, "config": _FILE, "archive": _FILE}


def _form_body(required: list[str], **fields: object) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": {**fields, **_ROUTING}}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


UPLOAD_BODY: Final = _form_body(["name"], name=_TEXT, **_FILES)
"""What OpenAPI's schema says of an upload."""

REPLACEMENT_BODY: Final = _form_body([], **_FILES)
"""And of a replacement."""

ROUTING_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {"schema": {"type": "object", "properties": _ROUTING}},
            JSON: {"schema": {"type": "object"}},
        },
    }
}
"""And of a route that takes routing data alone."""

Form = dict[str, UploadFile | str]


@asynccontextmanager
async def form_of(request: Request, known: Collection[str], limits: Limits) -> AsyncIterator[Form]:
    """The parts of a multipart body, which go when the block is left."""
    if media_type(request.headers) != FORM:
        raise InvalidRequest(
            "send the adapter as a form, with the header 'Content-Type: multipart/form-data'"
        )
    try:
        with storage_errors("receive an upload"):
            parsed = await request.form(
                max_files=8, max_fields=16, max_part_size=limits.max_routing_bytes
            )
    except MultiPartException as error:
        raise InvalidRequest(f"the multipart body cannot be read: {error.message}") from None
    try:
        yield _checked(parsed.multi_items(), known)
    finally:
        await parsed.close()


@asynccontextmanager
async def staged(form: Form, parts: Parts) -> AsyncIterator[tuple[Path, RoutingData | None]]:
    """The two files in a folder, and the routing data; the folder goes whatever happens.

    What can be refused for little comes first: the routing data are judged, then the archive is
    unpacked. Nothing is embedded here.
    """
    limits = parts.upload_limits
    fields = await routing_fields(form, limits)
    space = parts.catalogue.router.encoder.space
    routing = await asyncio.to_thread(parse_routing, fields, space.name, limits)
    with parts.catalogue.registry.store.staging() as stage:
        if "archive" in form:
            archive = _file(form, "archive")
            await asyncio.to_thread(unpack_archive, archive.file, stage, parts.upload_limits)
        else:
            weights, config = _file(form, "file"), _file(form, "config")
            await asyncio.to_thread(
                place_files,
                config.file,
                weights.file,
                stage,
                parts.upload_limits,
                weights.filename or "",
            )
        yield stage, routing


async def read_routing_fields(request: Request, limits: Limits) -> RoutingFields:
    """What a body, as a form or as JSON, says that the router may know; at least one field.

    Raises:
        InvalidRequest: an unknown field, or none.
        InvalidRouting: a field of the wrong type.
    """
    if media_type(request.headers) == FORM:
        async with form_of(request, ROUTING_FIELDS, limits) as form:
            fields = await routing_fields(form, limits)
    else:
        fields = await read_json(request.scope, request.receive, limits.max_routing_bytes)
        _check_known(fields, ROUTING_FIELDS)
        check_json_fields(fields)
    if not fields:
        raise InvalidRequest(f"no field is given; give one or more of {', '.join(ROUTING_FIELDS)}")
    return fields


async def routing_fields(form: Form, limits: Limits) -> RoutingFields:
    """The fields of a form that say what the router may know."""
    most = limits.max_routing_bytes
    return {field: await _bytes(form[field], most) for field in ROUTING_FIELDS if field in form}


def _checked(items: list[tuple[str, UploadFile | str]], known: Collection[str]) -> Form:
    """The parts of the form, each at most once and none unknown."""
    form: Form = {}
    _check_known((field for field, _ in items), known)
    for field, value in items:
        if field in form:
            raise InvalidRequest(f"the field {field!r} is given twice", param=field)
        form[field] = value
    if "archive" in form and ("file" in form or "config" in form):
        raise InvalidRequest("give either 'archive', or 'file' and 'config'", param="archive")
    return form


def _check_known(fields: Iterable[str], known: Collection[str]) -> None:
    for field in fields:
        if field not in known:
            raise InvalidRequest(
                f"there is no field {field[:64]!r}; there are {', '.join(sorted(known))}",
                param=field[:64],
            )


def _file(form: Form, field: str) -> UploadFile:
    value = form.get(field)
    if value is None:
        raise InvalidRequest(
            f"the file {field!r} is missing; give 'file' and 'config', or 'archive'", param=field
        )
    if isinstance(value, str):
        raise InvalidRequest(f"{field!r} must be a file, not a text", param=field)
    return value


async def _bytes(value: UploadFile | str, most: int) -> bytes:
    """A text field may also come as a file."""
    if isinstance(value, str):
        return value.encode()
    data = await value.read(most + 1)
    if len(data) > most:
        raise InvalidRequest(
            f"{(value.filename or 'a text')[:64]} is larger than {most} bytes, the most that is "
            "taken of routing data"
        )
    return data
