"""The dry run: what a text would get, without generating anything."""

from time import perf_counter
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from router.decision import RouteDecision
from router.window import RoutingInput
from server.access.keys import Caller
from server.edge.body.json_route import JsonRoute
from server.errors import InvalidRequest
from server.generation.bounds.body_sizes import check_sizes
from server.generation.prompts import read_plain
from server.generation.removed_meanwhile import MISSING, Tries
from server.generation.selection import Selection, read_selection, select
from server.generation.stages import decide
from server.routes.parts import CallerOf, Parts, PartsOf
from server.traces.applied import Applied

router = APIRouter(tags=["routing"], route_class=JsonRoute)


class RouteRequest(BaseModel):
    """A text or messages, and the policy that is to weigh adapters for them."""

    model_config = ConfigDict(extra="forbid")

    input: str | list[dict[str, Any]] | None = Field(None, description="A text, or messages.")
    prompt: str | None = Field(None, description="A text: the same as `input`.")
    messages: list[dict[str, Any]] | None = Field(None, description="The same as `input`.")
    policy: str | None = Field(None, description="The policy's name; the default one if absent.")
    model: str | None = Field(None, description="A policy's name, as generations give it.")
    routing: dict[str, Any] | None = Field(None, description="Changes to the policy.")


@router.post("/v1/route")
async def route(request: RouteRequest, parts: PartsOf, caller: CallerOf) -> dict[str, Any]:
    """Scores, weights, members and milliseconds."""
    given = [name for name in ("input", "prompt", "messages") if getattr(request, name) is not None]
    if len(given) != 1:
        raise InvalidRequest("give one of 'input', 'prompt' and 'messages'", param="input")
    check_sizes({given[0]: getattr(request, given[0])}, parts.settings.fitted_limits)
    text = read_plain(getattr(request, given[0]), given[0])
    policy = request.policy or request.model or parts.settings.default_policy
    names = parts.catalogue.visible_to(caller.visible)
    selection = select(read_selection({"policy": policy, "routing": request.routing}), names)
    started = perf_counter()
    decision = await _decided(text, selection, parts, caller)
    members = decision.mixture.members
    return {
        "object": "route",
        "policy": decision.policy,
        "policy_version": decision.policy_version,
        "mixture": Applied(decision.mixture).as_json(),
        "members": [{"name": m.name, "digest": m.digest, "weight": m.weight} for m in members],
        "scores": decision.scores,
        "fallback": decision.fallback,
        "text_window": decision.text_window,
        "encode_ms": round(decision.encode_ms, 3),
        "weigh_ms": round(decision.weigh_ms, 3),
        "total_ms": round((perf_counter() - started) * 1e3, 3),
    }


async def _decided(
    text: RoutingInput, selection: Selection, parts: Parts, caller: Caller
) -> RouteDecision:
    """The decision for a text; anew if an adapter of it is removed while it is looked at."""
    tries = Tries(parts.catalogue)
    while True:
        (decision,) = await decide(
            [text], selection, parts.catalogue, caller.visible, tries.without
        )
        applied = Applied(decision.mixture, decision)
        try:
            await parts.catalogue.check_combination(applied.combination, applied.members)
        except MISSING as error:
            tries.again(error, selection, applied.members)
        else:
            return decision
