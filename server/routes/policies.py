"""The policies, read only, as far as the caller can use them."""

from collections.abc import Collection
from typing import Any

from fastapi import APIRouter

from router.policies import PolicyConfig
from server.routes.state import CallerOf, PartsOf
from server.sight import shown_options

router = APIRouter(tags=["policies"])


@router.get("/v1/policies")
async def list_policies(parts: PartsOf, caller: CallerOf) -> dict[str, Any]:
    """Every policy with its options."""
    policies, names = parts.catalogue.router.policies, parts.catalogue.seen_by(caller.sees)
    seen = None if caller.sees.is_all else names.adapters
    data = [_told(name, policies[name], seen) for name in policies if name not in names.barred]
    return {"object": "list", "data": data}


@router.get("/v1/policies/{name}")
async def get_policy(name: str, parts: PartsOf, caller: CallerOf) -> dict[str, Any]:
    """One policy."""
    policy, names = parts.catalogue.router.policy(name), parts.catalogue.seen_by(caller.sees)
    names.check_policy(name)
    return _told(name, policy, None if caller.sees.is_all else names.adapters)


def _told(name: str, policy: PolicyConfig, seen: Collection[str] | None) -> dict[str, Any]:
    return {
        "id": name,
        "object": "policy",
        "version": policy.version,
        **shown_options(policy, seen),
    }
