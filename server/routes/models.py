"""OpenAI's list of models: the base model, every adapter, every policy."""

from typing import Any

from fastapi import APIRouter

from adapters.adapter import Adapter
from adapters.errors import shown
from adapters.names import version_name
from server.errors import ModelNotFound
from server.generation.named_versions import names_for
from server.generation.selection import select_model
from server.routes.parts import CallerOf, Parts, PartsOf

router = APIRouter(tags=["models"])


@router.get("/v1/models")
async def list_models(parts: PartsOf, caller: CallerOf) -> dict[str, Any]:
    """Every name that the caller can give as the ``model`` of a request."""
    names = parts.catalogue.visible_to(caller.visible)
    listed = [names.base, *names.adapters, *names.usable]
    return {"object": "list", "data": [_model(name, parts) for name in listed]}


@router.get("/v1/models/{name:path}")
async def get_model(name: str, parts: PartsOf, caller: CallerOf) -> dict[str, Any]:
    """One of them."""
    names = await names_for(parts.catalogue, caller.visible, [name])
    if name in names.versions:
        select_model(name, names)
        return _model(name, parts, names.versions[name])
    names.refuse_removing(name, "model")
    if name != names.base and name not in names.adapters and name not in names.policies:
        raise ModelNotFound(
            f"there is no model {shown(name)}; GET /v1/models lists what there is", param="model"
        )
    names.check_policy(name)
    return _model(name, parts)


def _model(name: str, parts: Parts, version: Adapter | None = None) -> dict[str, Any]:
    names = parts.catalogue.names  # what the caller sees is settled
    adapter = version or names.adapters.get(name)
    name = name if version is None else version_name(version)
    kind = "base" if name == names.base else "policy" if adapter is None else "adapter"
    return {
        "id": name,
        "object": "model",
        "created": int(parts.started if adapter is None else adapter.created),
        "owned_by": "loralloy",
        "root": name,
        "parent": None if kind == "base" else names.base,
        "kind": kind,
        "max_model_len": parts.settings.engine.max_model_len,
    }
