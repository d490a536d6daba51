"""What was generated, and by which mixture, as typed values.

Keys that this version does not know are kept, and can be read as attributes too.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A value of the wire."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


class Mixture(Record):
    """Weights over adapters, as a request may give them.

    Attributes:
        adapters: name → weight from 0 to 1000; weights need not sum to 1.
        combination: how updates are summed: ``cat`` (exact), ``linear`` or ``linear_peft04``.
    """

    adapters: dict[str, float]
    combination: str = "cat"


class AppliedMixture(Mixture):
    """The mixture that made an answer, or one of its chunks.

    Attributes:
        base_share: weight that went to the base model; 1 where no adapter took part.
        policy: the policy that decided, or None.
        policy_version: its version, or None.
        scope: ``prompt``, or ``token`` and ``recompute`` where weights follow the answer.
        stride: tokens between two weighings; None in scope ``prompt``.
        scores: name → cosine, where a policy decided.
        fallback: what answered in the policy's place, or None.
        token: in chunks of answers that weights follow, the number of the chunk's first token.
    """

    base_share: float
    policy: str | None = None
    policy_version: str | None = None
    scope: str = "prompt"
    stride: int | None = None
    scores: dict[str, float] | None = None
    fallback: str | None = None
    token: int | None = None


class TraceStep(Record):
    """The weights from one generated token on; tokens are counted from 0."""

    token: int
    weights: dict[str, float]
    base_share: float


class ChoiceTrace(Record):
    """The steps of one answer; ``per_token`` has one for every token, if asked for."""

    index: int
    prompt: int
    tokens: int | None
    steps: list[TraceStep]
    per_token: list[TraceStep] | None = None


class Trace(Record):
    """Which mixture made each token of an answer.

    Attributes:
        id: the request's id.
        adapters: names of all that a step may weigh.
        finished: whether the answer has ended.
        truncated: whether steps were left out because there were too many.
    """

    id: str
    policy: str | None
    policy_version: str | None
    scope: str
    stride: int
    combination: str
    adapters: list[str]
    finished: bool
    truncated: bool
    choices: list[ChoiceTrace]


class Usage(Record):
    """Tokens counted."""

    prompt_tokens: int
    completion_tokens: int | None = None
    total_tokens: int


class FunctionCall(Record):
    """A function and its arguments as JSON; in chunks, a piece of them."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(Record):
    """A tool that the model calls; ``index`` says which one a chunk goes on with."""

    id: str | None = None
    type: str | None = None
    index: int | None = None
    function: FunctionCall


class Message(Record):
    """What the model wrote."""

    role: str
    content: str | None = None
    tool_calls: list[ToolCall] | None = None


class Delta(Record):
    """What a chunk adds to a message."""

    role: str | None = None
    content: str | None = None
    tool_calls: list[ToolCall] | None = None


class ChatChoice(Record):
    """One of a chat's answers."""

    index: int
    message: Message
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class ChatChunkChoice(Record):
    """What a chunk adds to one of a chat's answers."""

    index: int
    delta: Delta
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class CompletionChoice(Record):
    """One of a completion's answers, or what a chunk adds to it."""

    index: int
    text: str
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class Generated(Record):
    """What answers and chunks have in common.

    Attributes:
        mixture: what was applied; in chunks, what made the chunk's first token.
        request_id: the id under which a trace and the server's log are found.
    """

    id: str
    model: str
    created: int
    usage: Usage | None = None
    mixture: AppliedMixture | None = None
    request_id: str | None = None


class Answer(Generated):
    """A whole answer.

    Attributes:
        mixture: what was applied, to the first prompt if there are several.
        mixtures: what was applied to each of several prompts.
        trace: all steps, where weights follow the answer.
    """

    mixture: AppliedMixture
    mixtures: list[AppliedMixture] | None = None
    trace: Trace | None = None


class ChatCompletion(Answer):
    """A chat's answer."""

    choices: list[ChatChoice]

    @property
    def text(self) -> str:
        """What the first choice says."""
        return (self.choices[0].message.content or "") if self.choices else ""


class Completion(Answer):
    """A completion's answer."""

    choices: list[CompletionChoice]

    @property
    def text(self) -> str:
        """What the first choice says."""
        return self.choices[0].text if self.choices else ""


class Chunk(Generated):
    """A piece of a streamed answer; ``mixtures`` has all of its steps if it has several tokens."""

    mixtures: list[TraceStep] | None = None


class ChatChunk(Chunk):
    """A piece of a chat's answer; the last one may have no choice, but the usage."""

    choices: list[ChatChunkChoice]

    @property
    def text(self) -> str:
        """What it adds to its first choice."""
        return (self.choices[0].delta.content or "") if self.choices else ""


class CompletionChunk(Chunk):
    """A piece of a completion's answer; the last one may have no choice, but the usage."""

    choices: list[CompletionChoice]

    @property
    def text(self) -> str:
        """What it adds to its first choice."""
        return self.choices[0].text if self.choices else ""
