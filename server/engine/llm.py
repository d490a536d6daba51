"""The engine client: attaches each request's mixture on its way into vLLM.

``AsyncLLM.add_request`` is the one door through which chat, completions, responses and beams all
pass. Here the plan that the HTTP layer decided becomes two things: the mixture in the request's
``extra_args``, which the per-step hook reads in the worker, and a cache salt, which keeps keys and
values of unlike mixtures, adapter versions and tenants apart.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from vllm import SamplingParams
from vllm.v1.engine.async_llm import AsyncLLM

from router.mixture import BASE_MODEL, Mixture
from server.engine.hook import EXTRA_KEY
from server.engine.plan import GenerationPlan, current_plan
from server.engine.usage import Usage


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


def mixture_of(plan: GenerationPlan | None, request_id: str) -> Mixture:
    """The mixture of one engine request: vLLM numbers the prompts of a completion ``…-0``, ``…-1``.

    Raises:
        LookupError: the plan has several mixtures and the request's number is not among them.
    """
    if plan is None or not plan.mixtures:
        return BASE_MODEL
    if len(plan.mixtures) == 1:
        return plan.mixtures[0]
    number = request_id.rpartition("-")[2]
    if not number.isdecimal() or int(number) >= len(plan.mixtures):
        raise LookupError(f"request {request_id!r} is none of {len(plan.mixtures)} planned prompts")
    return plan.mixtures[int(number)]


class MixingLLM(AsyncLLM):
    """vLLM's client with mixtures.

    Attributes:
        adapter_ids: digests in slots → vLLM's ids. Set by the embedding engine.
        usage: which adapters running requests use. Set by the embedding engine.
    """

    adapter_ids: Mapping[str, int]
    usage: Usage

    async def generate(
        self, prompt: Any, sampling_params: Any, request_id: str, *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Generate, and count the mixture's adapters as used until the request has left the engine.

        vLLM's generator aborts the request when it is closed early, so that the count falls only
        after the engine has been told.
        """
        digests = [m.digest for m in mixture_of(current_plan.get(), request_id).members]
        with self.usage.holding(digests):
            outputs = super().generate(prompt, sampling_params, request_id, *args, **kwargs)
            async with aclosing(outputs):
                async for output in outputs:
                    yield output

    async def add_request(
        self, request_id: str, prompt: Any, params: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Attach the current plan's mixture, then hand the request on.

        vLLM's own LoRA request (the serving classes look one up by the model's name) is dropped:
        the bank applies the adapters, and no request may make the engine load one.
        """
        if not isinstance(params, SamplingParams):
            return await super().add_request(request_id, prompt, params, *args, **kwargs)
        kwargs["lora_request"] = None
        plan = current_plan.get()
        mixture = mixture_of(plan, request_id)
        extra = dict(params.extra_args or {})
        extra.pop(EXTRA_KEY, None)
        if not mixture.is_base:
            extra[EXTRA_KEY] = {
                "ids": [self.adapter_ids[member.digest] for member in mixture.members],
                "weights": [member.weight for member in mixture.members],
                "combination": mixture.combination,
            }
        params.extra_args = extra or None
        salt = cache_salt(mixture, plan.tenant if plan else "", plan.user_salt if plan else None)
        if isinstance(prompt, dict):
            prompt = {key: value for key, value in prompt.items() if key != "cache_salt"}
            if salt is not None:
                prompt["cache_salt"] = salt
        return await super().add_request(request_id, prompt, params, *args, **kwargs)
