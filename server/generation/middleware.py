"""The way of a generation: read, select, route, check, lease, run.

Pure ASGI around vLLM's own routes, so that streams pass piece by piece and the context variable
with the plan is seen by every task that vLLM starts for the request. A lease lasts until the
answer has ended, whichever way it ends.
"""

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Receive, Scope, Send

from server.access.matched_route import MatchedRoute, matched_route
from server.catalogue.catalogue import Catalogue
from server.edge.body.json_body import handed_on, read_as, replayed
from server.edge.disconnect import ClientGone, unless_gone
from server.edge.errors.error_shape import EngineFailed
from server.edge.errors.error_status import OURS, error_response
from server.edge.settings import LimitSettings
from server.engine.client.plan import planned
from server.engine.errors import refusal
from server.engine.structured.settings import StructuredOutputSettings
from server.errors import EngineUnavailable
from server.generation.answer import Answer
from server.generation.bounds.unknown_fields import refuse_beside_body
from server.generation.decided import Generation
from server.generation.prompts import Api, Decode
from server.generation.removed_meanwhile import MISSING, Tries
from server.generation.stages import GenerationRequest, check, read, route, select
from server.metrics import Metrics
from server.residency.residency import Residency
from server.traces.store import TraceStore

logger = logging.getLogger(__name__)

_APIS: Mapping[MatchedRoute | None, Api] = {MatchedRoute("POST", api.value): api for api in Api}


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What the middleware works with."""

    catalogue: Catalogue
    residency: Residency
    metrics: Metrics
    limits: LimitSettings
    decode: Decode
    traces: TraceStore
    engine_failed: EngineFailed = lambda: False
    structured: StructuredOutputSettings = field(default_factory=lambda: StructuredOutputSettings())


class GenerationMiddleware:
    """Pure ASGI: mixes adapters into what vLLM's routes generate.

    Args:
        app: what serves a generation under its plan, and everything else.
        collaborators: what the stages need.
    """

    def __init__(self, app: ASGIApp, collaborators: Collaborators) -> None:
        self._app = app
        self._with = collaborators

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a generation; pass everything else on."""
        api = _APIS.get(matched_route(scope)) if scope["type"] == "http" else None
        if api is None:
            await self._app(scope, receive, send)
            return
        if self._with.engine_failed():
            await error_response(EngineUnavailable())(scope, receive, send)
            return
        try:
            refuse_beside_body(scope)
            rule, context = scope["state"]["caller"].visible, self._with
            request = await read_as(
                lambda body: read(api, body, rule, context.limits, context.structured),
                scope,
                receive,
            )
            generation = await unless_gone(self._leased(request), receive)
        except ClientGone:
            return
        except OURS as error:
            await error_response(error)(scope, receive, send)
            return
        await self._run(generation, scope, receive, send)

    async def _leased(self, request: GenerationRequest) -> Generation:
        """Select, route, check, lease; anew if an adapter is removed in between."""
        parts, tries = self._with, Tries(self._with.catalogue)
        while True:
            selection, generation = None, None
            try:
                selection = await select(request, parts.catalogue)
                generation = await route(
                    request, selection, parts.catalogue, parts.decode, tries.without
                )
                await check(generation, parts.catalogue)
                with parts.metrics.adapters.waiting(generation.names):
                    await parts.residency.acquire(generation.digests)
            except MISSING as error:
                tries.again(error, selection, () if generation is None else generation.members)
            else:
                return generation

    async def _run(
        self, generation: Generation, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Run a leased generation to its end: the lease and the trace end with the answer."""
        parts, state = self._with, scope["state"]
        with ExitStack() as ended:
            ended.callback(parts.residency.release, generation.digests)
            ended.enter_context(parts.metrics.adapters.running(generation.names))
            begun = generation.recorded(parts.traces, state["tenant"], state["request_id"])
            answer = Answer(begun.report(parts.engine_failed), send)
            if begun.recording is not None:
                ended.callback(answer.close, begun.recording)
            parts.metrics.count(begun.applied)
            await self._under_plan(begun, answer, scope, receive)

    async def _under_plan(
        self, generation: Generation, answer: Answer, scope: Scope, receive: Receive
    ) -> None:
        """Run vLLM's route under the plan."""
        try:
            with planned(generation.plan(scope["state"]["tenant"])):
                await self._app(handed_on(scope, generation.body), replayed(receive), answer.send)
        except Exception as error:  # whatever it was, a stream that has begun ends in an event
            if not answer.streaming:
                raise
            said = refusal(error)
            if said is None:
                logger.exception("a stream broke off (request %s)", scope["state"]["request_id"])
            await answer.break_off(said)
