"""The policies, read only, as far as the caller can use them."""

from collections.abc import Collection
from typing import Any

from fastapi import APIRouter

from router.policies import PolicyConfig
from server.access.keys import Caller
from server.names import barred
from server.routes.state import CallerOf, Parts, PartsOf
from server.sight import needed, shown_options

router = APIRouter(tags=["policies"])


@router.get("/v1/policies")
async def list_policies(parts: PartsOf, caller: CallerOf) -> dict[str, Any]:
    """Every policy with its options."""
    policies, seen = parts.catalogue.router.policies, _seen(parts, caller)
    usable = {name: one for name, one in policies.items() if _is_usable(one, seen)}
    return {"object": "list", "data": [_told(name, one, seen) for name, one in usable.items()]}


@router.get("/v1/policies/{name}")
async def get_policy(name: str, parts: PartsOf, caller: CallerOf) -> dict[str, Any]:
    """One policy."""
    policy, seen = parts.catalogue.router.policy(name), _seen(parts, caller)
    if not _is_usable(policy, seen):
        raise barred(name)
    return _told(name, policy, seen)


def _seen(parts: Parts, caller: Caller) -> Collection[str] | None:
    """The adapters that the caller sees; None for all."""
    return None if caller.sees.is_all else parts.catalogue.seen_by(caller.sees).adapters.keys()


def _is_usable(policy: PolicyConfig, seen: Collection[str] | None) -> bool:
    return seen is None or needed(policy) <= set(seen)


def _told(name: str, policy: PolicyConfig, seen: Collection[str] | None) -> dict[str, Any]:
    return {
        "id": name,
        "object": "policy",
        "version": policy.version,
        **shown_options(policy, seen),
    }
