"""The engine client: attaches each request's mixture on its way into vLLM.

``AsyncLLM.add_request`` is the one door through which chat, completions, responses and beams all
pass. Here the plan that the HTTP layer decided becomes two things: the mixture in the request's
``extra_args``, which the per-step hook reads in the worker, and a cache salt, which keeps keys and
values of unlike mixtures, adapter versions and tenants apart.

The door is closed to everything else: without a plan no request reaches the engine, of whatever
kind, since it would be answered by the base model, in everybody's cache.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM

from router.decision import Following
from router.mixture import Mixture
from server.engine.client.constraint import check_in_time, compile_apart
from server.engine.client.parts import ClientParts
from server.engine.client.plan import GenerationPlan, NoPlan, required_plan
from server.engine.client.token_count import TokenCount
from server.engine.client.trace_feed import TraceFeed
from server.engine.client.worker_policies import policy_key
from server.engine.messages import EXTRA_KEY, TENANT_KEY, RequestMixture, ReweighRequest

WAIT_S: Final = 0.001
MAX_WAITS: Final = 500
"""A weighing is sent before its token is made, on another socket: it is hardly ever waited for, and
half a second is long enough to call it lost."""


def cache_salt(mixture: Mixture, tenant: str, user_salt: str | None) -> str | None:
    """The namespace of a request's keys and values.

    Equal mixtures of one tenant share it whichever policy made them: what a block holds depends on
    the members' content, their weights and the combination alone.

    Returns:
        A digest, or None for the base model without tenant and salt.
    """
    if mixture.is_base and not tenant and user_salt is None:
        return None
    members = [(member.digest, member.weight) for member in mixture.members]
    combination = None if mixture.is_base else mixture.combination
    content = json.dumps([tenant, user_salt, combination, members])
    return hashlib.sha256(content.encode()).hexdigest()


def number_of(plan: GenerationPlan, request_id: str) -> int:
    """Which of the plan's prompts an engine request is.

    vLLM numbers the prompts of a completion ``…-0``, ``…-1``.

    Raises:
        LookupError: the plan has several mixtures and the request's number is not among them.
    """
    if len(plan.mixtures) == 1:
        return 0
    number = request_id.rpartition("-")[2]
    if not number.isdecimal() or int(number) >= len(plan.mixtures):
        raise LookupError(f"request {request_id!r} is none of {len(plan.mixtures)} planned prompts")
    return int(number)


@dataclass(frozen=True, slots=True)
class Part:
    """One engine request's part of its plan: its mixture, and how that follows the answer."""

    mixture: Mixture
    following: Following | None = None

    @classmethod
    def of(cls, plan: GenerationPlan, request_id: str) -> "Part":
        """The part of an engine request."""
        number = number_of(plan, request_id)
        following = plan.followings[number] if plan.followings else None
        return cls(plan.mixtures[number], following)

    @property
    def digests(self) -> tuple[str, ...]:
        """Every adapter that the request may use."""
        if self.following is not None:
            return self.following.reweighing.digests
        return tuple(member.digest for member in self.mixture.members)


class MixingLLM(AsyncLLM):
    """vLLM's client with mixtures. vLLM makes it; it serves once its parts are attached."""

    _parts: ClientParts

    def attach(self, parts: ClientParts) -> None:
        """Take the parts that requests need from now on."""
        self._parts = parts

    async def generate(
        self, prompt: Any, sampling_params: Any, request_id: str, *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Generate; the mixture's adapters count as used until the request has left the engine.

        vLLM's generator aborts the request when it is closed early, so that the count falls only
        after the engine knows of it.

        Raises:
            NoPlan: the request has no plan.
            VLLMValidationError: its constraint takes too long for a token.
        """
        plan = required_plan()
        part = Part.of(plan, request_id)
        is_delta = sampling_params.output_kind is RequestOutputKind.DELTA
        count = TokenCount(is_delta=is_delta)
        with self._parts.usage.holding(part.digests):
            async with self._following(plan, part, request_id) as feed:
                outputs = super().generate(prompt, sampling_params, request_id, *args, **kwargs)
                try:
                    async with aclosing(outputs):
                        async for output in outputs:
                            for choice in output.outputs:
                                self._count(count, feed, choice)
                                check_in_time(choice)
                            if feed is not None:
                                await _caught_up(feed, output)
                            yield output
                finally:
                    if feed is None:
                        mixture = part.mixture
                        self._parts.on_tokens(mixture.weights, mixture.base_share, count.total)

    def _count(self, count: TokenCount, feed: TraceFeed | None, choice: Any) -> None:
        """Count one choice's new tokens; where weights follow the answer, also what made each."""
        before, fresh = count.new(choice)
        if feed is None:
            return
        feed.generated(choice.index, before + fresh)
        for step in feed.steps(choice.index, before, fresh):
            self._parts.on_tokens(step.weights, step.base_share, 1)

    def _ids(self, digests: Iterable[str]) -> dict[str, int]:
        return {digest: self._parts.adapter_ids[digest] for digest in digests}

    @asynccontextmanager
    async def _following(
        self, plan: GenerationPlan, part: Part, request_id: str
    ) -> AsyncIterator[TraceFeed | None]:
        """Where a request's weights follow its answer: its policy in the workers, its trace open.

        Gives what feeds the request's recording, if it has one.
        """
        following = part.following
        if following is None:
            yield None
            return
        async with self._parts.policies.holding(following.reweighing, self._ids(part.digests)):
            if plan.recording is None:
                yield None
                return
            known = following.reweighing.snapshot.known
            names = {self._parts.adapter_ids[digest]: name for name, digest in known.items()}
            feed = TraceFeed(plan.recording, following, names, number_of(plan, request_id))
            with self._parts.traces.open(request_id, feed.weighed):
                yield feed

    def encode(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """Refuse: no mixture is applied to what a pooling model reads.

        Raises:
            NoPlan: always.
        """
        raise NoPlan("the engine was asked for a pooling, which is never planned; it is refused")

    async def add_request(
        self, request_id: str, prompt: Any, params: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Attach the current plan's mixture, then hand the request on.

        vLLM's own LoRA request (the serving classes look one up by the model's name) is dropped:
        the bank applies the adapters, and no request may make the engine load one.

        Raises:
            NoPlan: the request has no plan, or a form that no plan can be attached to: poolings,
                streams of inputs, and requests that somebody has made for the engine already.
            VLLMValidationError: its constraint cannot be compiled within its bounds.
        """
        plan = required_plan()
        if not isinstance(params, SamplingParams) or not isinstance(prompt, dict):
            raise NoPlan(
                f"the engine was asked to read {type(prompt).__name__} with "
                f"{type(params).__name__}, which is never planned; it is refused"
            )
        await compile_apart(self._parts.compilations, plan.tenant, params)
        kwargs["lora_request"] = None
        part = Part.of(plan, request_id)
        extra = dict(params.extra_args or {})
        for reserved in (EXTRA_KEY, TENANT_KEY):
            extra.pop(reserved, None)
        if plan.tenant:
            extra[TENANT_KEY] = plan.tenant
        if part.following is not None or not part.mixture.is_base:
            extra[EXTRA_KEY] = self._message(part, request_id).to_wire()
        params.extra_args = extra or None
        if part.following is not None and part.following.scope == "recompute":
            # What a block holds depends on how far the request had come when it was computed.
            params.skip_reading_prefix_cache = True
        salt = self._salt(plan, part)
        prompt = {key: value for key, value in prompt.items() if key != "cache_salt"}
        if salt is not None:
            prompt["cache_salt"] = salt
        return await super().add_request(request_id, prompt, params, *args, **kwargs)

    def _message(self, part: Part, request_id: str) -> RequestMixture:
        """The mixture as the workers read it."""
        weights = tuple(
            (self._parts.adapter_ids[member.digest], member.weight)
            for member in part.mixture.members
        )
        following = part.following
        if following is None:
            return RequestMixture(weights, part.mixture.combination, None)
        reweigh = ReweighRequest(
            policy=policy_key(following.reweighing, self._ids(part.digests)),
            scope="token" if following.scope == "token" else "recompute",
            stride=following.stride,
            messages=following.spoken.messages,
            text=following.spoken.text,
            trace=request_id if self._parts.traces.listens(request_id) else None,
        )
        return RequestMixture(weights, following.reweighing.config.combination, reweigh)

    @staticmethod
    def _salt(plan: GenerationPlan, part: Part) -> str | None:
        """The cache salt; one of its own for a request whose blocks depend on its answer's path."""
        salt = cache_salt(part.mixture, plan.tenant, plan.user_salt)
        return salt if part.following is None else f"{salt}-{uuid4().hex}"


async def _caught_up(feed: TraceFeed, output: Any) -> None:
    """Let the weighings that made an output's tokens arrive before it goes on."""
    for _ in range(MAX_WAITS):
        if not any(feed.is_behind(choice.index) for choice in output.outputs):
            return
        await asyncio.sleep(WAIT_S)
