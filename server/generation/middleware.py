"""The way of a generation: body → selection → mixtures → lease → vLLM → answer.

Pure ASGI around vLLM's own routes, so that streams pass piece by piece and the context variable
with the plan is seen by every task that vLLM starts for the request. A lease lasts until the
answer has ended, whichever way it ends.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from router.decision import RouteDecision
from router.window import RoutingInput
from server.access.keys import AdapterRule
from server.catalogue.catalogue import Catalogue
from server.catalogue.visibility import hiding_invisible_adapters
from server.edge.disconnect import ClientGone, unless_gone
from server.edge.envelope import OURS, error_response
from server.edge.json_body import parse_object, read_json, replayed, resized
from server.edge.settings import LimitSettings
from server.engine.client.plan import current_plan
from server.errors import AdapterBeingRemoved, InvalidRequest
from server.generation.answer import Answer
from server.generation.body import clean
from server.generation.decided import Generation
from server.generation.named_versions import names_for
from server.generation.prompts import Api, Decode, count_prompts, read_prompts
from server.generation.selection import Selection, resolve
from server.metrics import Metrics
from server.residency.residency import Residency
from server.traces.applied import Applied
from server.traces.store import TraceStore

logger = logging.getLogger(__name__)

_PATHS: Mapping[str, Api] = {api.value: api for api in Api}


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What the middleware works with."""

    catalogue: Catalogue
    residency: Residency
    metrics: Metrics
    limits: LimitSettings
    decode: Decode
    traces: TraceStore


class GenerationMiddleware:
    """The middleware."""

    def __init__(self, app: ASGIApp, mixer: Collaborators) -> None:
        self._app = app
        self._mixer = mixer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a generation; pass everything else on."""
        api = _PATHS.get(scope.get("path", ""))
        if scope["type"] != "http" or scope["method"] != "POST" or api is None:
            await self._app(scope, receive, send)
            return
        try:
            body = parse_object(await read_json(scope, receive))
            visible = scope["state"]["caller"].visible
            generation = await unless_gone(self._admit(api, body, visible), receive)
        except ClientGone:
            return
        except OURS as error:
            await error_response(error)(scope, receive, send)
            return
        state = scope["state"]
        generation = generation.recorded(self._mixer.traces, state["tenant"], state["request_id"])
        answer = Answer(generation.report, send)
        try:
            self._mixer.metrics.count(generation.applied)
            await self._serve(generation, answer, scope, receive)
        finally:
            self._mixer.residency.release(generation.digests)
            if generation.recording is not None:
                answer.close(generation.recording)

    async def _admit(self, api: Api, body: Mapping[str, Any], visible: AdapterRule) -> Generation:
        """Decide, and lease; decide anew if an adapter is removed between the two."""
        for _ in range(2):
            generation = await self._decide(api, body, visible)
            try:
                await self._mixer.residency.acquire(generation.digests)
            except AdapterBeingRemoved:
                continue
            return generation
        raise AdapterBeingRemoved(
            "adapters of this request are being removed; ask again without them"
        )

    async def _decide(self, api: Api, body: Mapping[str, Any], visible: AdapterRule) -> Generation:
        catalogue = self._mixer.catalogue
        count = count_prompts(api, body)
        if count > self._mixer.limits.max_prompts:
            raise InvalidRequest(
                f"{count} prompts are too many for one request; send at most "
                f"{self._mixer.limits.max_prompts}",
                param="prompt",
            )
        cleaned = clean(body, self._mixer.limits.max_choices)
        selection = resolve(body, await names_for(catalogue, visible, body))
        if selection.mixture is not None:
            applied = [Applied(selection.mixture)] * count
        else:
            prompts = await asyncio.to_thread(read_prompts, api, body, self._mixer.decode)
            applied = [
                Applied(d.mixture, d) for d in await self._route(prompts, selection, visible)
            ]
        for one in applied:
            await catalogue.check_combination(one.combination, one.members)
        generation = Generation(applied, cleaned, selection.model).counted(api)
        await catalogue.check_present(generation.members)
        return generation

    async def _route(
        self, prompts: Sequence[RoutingInput], selection: Selection, visible: AdapterRule
    ) -> list[RouteDecision]:
        catalogue = self._mixer.catalogue
        router, allowed = catalogue.router, catalogue.visible_adapters(visible)
        policy = selection.policy or ""
        with hiding_invisible_adapters(visible, policy, selection.overrides):
            return await asyncio.to_thread(
                lambda: [
                    router.route(said, policy, selection.overrides, allowed) for said in prompts
                ]
            )

    async def _serve(
        self, generation: Generation, answer: Answer, scope: Scope, receive: Receive
    ) -> None:
        """Run vLLM's route under the plan."""
        body = generation.body
        token = current_plan.set(generation.plan(scope["state"]["tenant"]))
        try:
            await self._app(resized(scope, len(body)), replayed(body, receive), answer.send)
        except Exception:  # whatever it was, a stream that has begun ends in an error event
            if not answer.streaming:
                raise
            logger.exception("a stream broke off (request %s)", scope["state"]["request_id"])
            await answer.break_off()
        finally:
            current_plan.reset(token)
