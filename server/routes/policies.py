"""The policies, read only."""

from typing import Any

from fastapi import APIRouter

from router.policies import PolicyConfig
from server.routes.state import PartsOf

router = APIRouter(tags=["policies"])


@router.get("/v1/policies")
async def list_policies(parts: PartsOf) -> dict[str, Any]:
    """Every policy with its options."""
    policies = parts.catalogue.router.policies
    return {"object": "list", "data": [_told(name, policies[name]) for name in policies]}


@router.get("/v1/policies/{name}")
async def get_policy(name: str, parts: PartsOf) -> dict[str, Any]:
    """One policy."""
    return _told(name, parts.catalogue.router.policy(name))


def _told(name: str, policy: PolicyConfig) -> dict[str, Any]:
    return {
        "id": name,
        "object": "policy",
        "version": policy.version,
        **policy.model_dump(mode="json"),
    }
