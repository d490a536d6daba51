"""The plan of a generation: what the server decided before it hands a request to the engine.

The HTTP layer sets the plan around the call of vLLM's serving class (:func:`planned`); the engine
client reads it (:func:`required_plan`) and refuses whatever comes without one. A context variable
carries it because vLLM's handlers take no parameters of ours, and because tasks that a handler
spawns inherit the context. Contexts are inherited by more than that: a connection's next request
may begin in the context of the one before. So a plan ends with its block, for everybody who still
has it, and a request begins without one (:func:`without_plan`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from router.decision import Following
from router.mixture import Mixture
from server.traces.recording import Recording


class NoPlan(RuntimeError):
    """Something asked the engine for a generation that the server did not decide on."""


@dataclass(frozen=True, slots=True)
class GenerationPlan:
    """Mixtures of one HTTP request, one per prompt, and whose request it is.

    Attributes:
        mixtures: as many as the request has prompts (one for chat and responses).
        tenant: an opaque name; key-value blocks are never shared between tenants.
        user_salt: the client's own ``cache_salt``, or None.
        followings: one per prompt where weights follow the answer; None where they stay.
        recording: the trace that weighings go into; None where the scope is ``prompt``.
    """

    mixtures: tuple[Mixture, ...]
    tenant: str = ""
    user_salt: str | None = None
    followings: tuple[Following | None, ...] = ()
    recording: Recording | None = None


@dataclass(slots=True)
class _Running:
    """A plan while it holds; shared by every context that has inherited it."""

    plan: GenerationPlan
    has_ended: bool = False


_running: ContextVar[_Running | None] = ContextVar("running_plan", default=None)


@contextmanager
def planned(plan: GenerationPlan) -> Iterator[None]:
    """Let what is generated within the block go by a plan; after it nothing does, anywhere."""
    running = _Running(plan)
    token = _running.set(running)
    try:
        yield
    finally:
        running.has_ended = True
        _running.reset(token)


@contextmanager
def without_plan() -> Iterator[None]:
    """Let the block begin without a plan, whatever context it was started in."""
    token = _running.set(None)
    try:
        yield
    finally:
        _running.reset(token)


def running_plan() -> GenerationPlan | None:
    """The plan of the block that this is called within; None outside of any, or after its end."""
    running = _running.get()
    return None if running is None or running.has_ended else running.plan


def required_plan() -> GenerationPlan:
    """The plan of the block that this is called within.

    Raises:
        NoPlan: there is none, or it has ended.
    """
    plan = running_plan()
    if plan is None or not plan.mixtures:
        raise NoPlan("the engine was asked for a generation that has no plan; it is refused")
    return plan
