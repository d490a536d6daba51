"""A decided request: its mixtures, the body that vLLM gets, what the answer tells."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from router.decision import Following
from server.edge.errors.error_shape import EngineFailed
from server.engine.client.plan import GenerationPlan
from server.generation.body import CleanBody
from server.generation.prompts import Api
from server.generation.report import Report
from server.generation.token_counts import StreamCounts, counting
from server.traces.applied import Applied
from server.traces.recording import Recording
from server.traces.store import TraceStore
from server.traces.trace import TraceHead, TraceStep


@dataclass(frozen=True, slots=True)
class Generation:
    """One request, decided: the mixtures it gets, what they need, and the body that vLLM gets.

    Attributes:
        applied: what each prompt gets.
        cleaned: the body without our fields.
        model: a name that vLLM knows.
        api: the way in which it was asked for.
        id: what tells its answer from all others.
        usage: what the client wants of token counts that we asked for; None if we did not.
        recording: the trace, where weights change while the answer grows.
    """

    applied: Sequence[Applied]
    cleaned: CleanBody
    model: str
    api: Api
    id: str = field(default_factory=lambda: uuid4().hex)
    usage: StreamCounts | None = None
    recording: Recording | None = None

    @property
    def members(self) -> tuple[tuple[str, str], ...]:
        """(name, digest) of every adapter that the answers may use, each once."""
        return tuple(dict.fromkeys(member for one in self.applied for member in one.members))

    @property
    def digests(self) -> tuple[str, ...]:
        """What must be in the engine's slots while the request runs, each digest once."""
        return tuple(dict.fromkeys(digest for _, digest in self.members))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of every adapter that the answers may use."""
        return tuple(name for name, _ in self.members)

    @property
    def body(self) -> dict[str, Any]:
        """The body without our fields, under a model name that vLLM knows, and an id of ours."""
        # vLLM puts the prefix before it, but for responses.
        named = self.answer_id if self.api is Api.RESPONSES else self.id
        ours = {"model": self.model, "request_id": named}
        return {**self.cleaned.fields, **ours}

    @property
    def answer_id(self) -> str:
        """The ``id`` of the answer."""
        return f"{self.api.id_prefix}{self.id}"

    def report(self, engine_failed: EngineFailed = lambda: False) -> Report:
        """What the answer is to tell.

        Args:
            engine_failed: whether the engine has died.
        """
        return Report(
            self.applied,
            in_chunks=self.cleaned.tells_mixture,
            choices=self.choices,
            recording=self.recording,
            usage=self.usage,
            engine_failed=engine_failed,
        )

    @property
    def choices(self) -> int:
        """Answers to each prompt."""
        given = self.cleaned.fields.get("n")
        return max(1, given) if isinstance(given, int) else 1

    def plan(self, tenant: str) -> GenerationPlan:
        """The plan that the engine reads."""
        mixtures = tuple(one.mixture for one in self.applied)
        followings = tuple(one.following for one in self.applied)
        return GenerationPlan(mixtures, tenant, self.cleaned.user_salt, followings, self.recording)

    def counted(self) -> "Generation":
        """The same with chunks that count their tokens, where each tells the mixture of its own."""
        tells_each = self.cleaned.tells_mixture and self.following is not None
        is_counted = tells_each and self.api is not Api.RESPONSES
        both = counting(self.cleaned.fields) if is_counted else None
        if both is None:
            return self
        fields, usage = both
        return replace(self, cleaned=replace(self.cleaned, fields=fields), usage=usage)

    def recorded(self, store: TraceStore, tenant: str, request_id: str) -> "Generation":
        """The same with a trace begun, where weights change while the answer grows."""
        following = self.following
        if following is None:
            return self
        first = self.applied[0].mixture
        head = TraceHead(
            request_id,
            first.policy,
            first.policy_version,
            following.scope,
            following.stride,
            following.reweighing.config.combination,
            tuple(sorted({name for one in self.applied for name, _ in one.members})),
            self.choices,
            self.answer_id,
        )
        steps = [TraceStep.of(0, one.mixture) for one in self.applied]
        return replace(self, recording=store.begin(tenant, head, steps))

    @property
    def following(self) -> Following | None:
        """How weights follow the answers; all prompts of a request have one policy."""
        return next((one.following for one in self.applied if one.following), None)
