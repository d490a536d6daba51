"""llama.cpp's list of adapters, by the numbers that a request's ``lora`` may name them by."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from server.edge.errors.error_status import plain_error
from server.routes.parts import CallerOf, PartsOf

router = APIRouter(tags=["adapters"])


@router.get("/lora-adapters")
async def list_lora_adapters(parts: PartsOf, caller: CallerOf) -> list[dict[str, Any]]:
    """Number and name of every adapter that the caller can name, as llama.cpp's server has them.

    ``scale`` is what a request that says nothing of an adapter gets of it. Of paths only the name
    is told.
    """
    numbers = parts.catalogue.visible_to(caller.visible).numbers
    return [
        {"id": number, "path": name, "scale": 0.0, "task_name": "", "prompt_prefix": ""}
        for number, name in numbers.names.items()
    ]


@router.post("/lora-adapters")
async def set_scales() -> JSONResponse:
    """Refused: scales for all requests would change what every other caller is answered."""
    refusal = plain_error(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "scales that hold for every request are not set here: they would change the answers of "
        "everybody who uses this server; give them in the field 'lora' of each request",
    )
    refusal.headers["Allow"] = "GET"
    return refusal
