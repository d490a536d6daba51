"""The plan of a generation: what the server decided before it hands a request to the engine.

The HTTP layer sets :data:`current_plan` around the call of vLLM's serving class; the engine reads
it in ``add_request``. A context variable carries it because vLLM's handlers take no parameters of
ours, and because tasks that a handler spawns inherit the context.
"""

from contextvars import ContextVar
from dataclasses import dataclass

from router.decision import Following
from router.mixture import Mixture
from server.traces.recording import Recording


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


current_plan: ContextVar[GenerationPlan | None] = ContextVar("current_plan", default=None)
