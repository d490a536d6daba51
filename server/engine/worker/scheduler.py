"""What the engine computes next: turns by tenant, and prefixes that run again.

Tenants take turns (``server.engine.worker.turns``). Scope ``recompute`` runs the whole prefix again
under each new mixture.

These are the reference semantics of LoRA-TLE (arXiv 2311.10847), slow by nature. The scheduler
preempts such a request whenever its weights are about to change, and resumes it in the same step:
its keys and values are dropped, and prompt and answer so far become one prefill, every row of which
gets the new gates (``server.engine.worker.gate_log``). Streams, stop conditions and
log-probabilities see nothing of it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import RequestStatus

from server.engine.messages import TENANT_KEY, RequestMixture
from server.engine.structured.vllm_hooks import call_off
from server.engine.worker.turns import in_turns, prefill_order, prefill_share

RESTART_ATTRIBUTE: Final = "loralloy_restarted"
"""Attribute of a request: how many generated tokens it had when it was last started anew."""


def due_for_restart(request: Any) -> bool:
    """Whether a running request is about to decode a token under new weights."""
    mixture = RequestMixture.carried_by(request)
    if mixture is None or mixture.reweigh is None or mixture.reweigh.scope != "recompute":
        return False
    generated = request.num_output_tokens
    decoding = request.num_computed_tokens == request.num_tokens - 1
    again = getattr(request, RESTART_ATTRIBUTE, None) != generated
    return bool(decoding and again and generated and generated % mixture.reweigh.stride == 0)


def tenant_of(request: Any) -> str:
    """Whose request it is; empty where there is one tenant."""
    extra = None if request.sampling_params is None else request.sampling_params.extra_args
    return str(extra.get(TENANT_KEY, "")) if extra else ""


class SharingScheduler(Scheduler):
    """vLLM's scheduler, with tenants that take turns and requests that start anew.

    A request that ends leaves no grammar of its own in the line of those to be compiled.
    """

    def schedule(self, *args: Any, **kwargs: Any) -> SchedulerOutput:
        """Preempt the requests that are due, let the others take turns, then schedule as ever."""
        due = [request for request in self.running if due_for_restart(request)]
        for request in reversed(due):  # the first of them is to be the first to resume
            self.running.remove(request)
            self._preempt_request(request, time.monotonic())
            # It resumes within this step: the runner must not take it for one that goes on.
            self.prev_step_scheduled_req_ids.discard(request.request_id)
            setattr(request, RESTART_ATTRIBUTE, request.num_output_tokens)
        with self._turns():
            return super().schedule(*args, **kwargs)

    def finish_requests(self, request_ids: Any, finished_status: Any) -> Any:
        """End requests as ever; what waits to be compiled for them is dropped."""
        if request_ids is None:
            request_ids = list(self.requests)
        ids = [request_ids] if isinstance(request_ids, str) else list(request_ids)
        call_off(self.requests[one] for one in ids if one in self.requests)
        return super().finish_requests(ids, finished_status)

    @contextmanager
    def _turns(self) -> Iterator[None]:
        """Let the block see who may begin in this step, in the order of their turns."""
        some_wait = any(map(tenant_of, self.waiting))  # else nobody, or there is one tenant
        prefilling = [tenant_of(one) for one in self.running if one.is_prefill_chunk]
        if not some_wait and len(set(prefilling)) < 2:
            yield
            return
        now, later = self._in_turns()
        self.waiting.clear()
        self.waiting.extend(now)
        self.running[:] = prefill_order(self.running, tenant_of, lambda one: one.is_prefill_chunk)
        config = self.scheduler_config
        usual = config.long_prefill_token_threshold
        first = tenant_of(now[0]) if now else None
        share = prefill_share(prefilling, first, self.max_num_scheduled_tokens)
        config.long_prefill_token_threshold = share or usual
        try:
            yield
        finally:
            config.long_prefill_token_threshold = usual
            self.waiting.extend(later)

    def _in_turns(self) -> tuple[list[Any], list[Any]]:
        return in_turns(
            self.waiting,
            self.running,
            self.max_num_active_reqs,
            tenant_of,
            lambda request: request.status == RequestStatus.PREEMPTED,
        )
