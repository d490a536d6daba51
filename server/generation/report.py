"""What an answer says of the mixture that made it: a header, a JSON object, and both in streams.

Where the scope is ``token`` or ``recompute``, each chunk tells the mixture of its own tokens, and a
JSON body the whole trace.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.mixture import Combination, Mixture
from router.router import Following, RouteDecision
from server.edge.envelope import translate
from server.generation.body import UsageWish
from server.traces.recording import Recording
from server.traces.trace import TraceStep

HEADER = "X-Loralloy-Mixture"
MAX_HEADER_CHARS = 1024
_EVENT_END = b"\n\n"
_DATA_OBJECT = b"data: {"
_DATA_ERROR = b'data: {"error"'


@dataclass(frozen=True, slots=True)
class Applied:
    """The mixture of one prompt, and the router's decision where a policy made it."""

    mixture: Mixture
    decision: RouteDecision | None = None

    @property
    def following(self) -> Following | None:
        """How the weights follow the answer; None if they stay."""
        return None if self.decision is None else self.decision.following

    @property
    def members(self) -> tuple[tuple[str, str], ...]:
        """(name, digest) of every adapter that the answer may use."""
        if self.following is not None:
            return tuple(self.following.reweighing.snapshot.known.items())
        return tuple((member.name, member.digest) for member in self.mixture.members)

    @property
    def combination(self) -> Combination:
        """How its adapters are combined."""
        if self.following is not None:
            return self.following.reweighing.config.combination
        return self.mixture.combination

    def as_json(self) -> dict[str, Any]:
        """The ``mixture`` object of an answer; where weights follow it, those at the prompt."""
        told = self._told(TraceStep.of(0, self.mixture))
        if self.decision is not None:
            told["scores"] = {k: round(v, 4) for k, v in self.decision.scores.items()}
            told["fallback"] = self.decision.fallback
        return told

    def at(self, step: TraceStep) -> dict[str, Any]:
        """The ``mixture`` object of one token, without what is known of the prompt alone."""
        return {**self._told(step), "token": step.token}

    def as_header(self) -> str:
        """``maths=0.7;code=0.3, combination=cat, policy=auto@1a2b3c``; ``base=1`` for the base."""
        mixture = self.mixture
        shares = [f"{name}={weight:g}" for name, weight in mixture.weights.items()]
        if mixture.is_base:
            shares = ["base=1"]
        elif mixture.base_share:
            shares.append(f"base={mixture.base_share:g}")
        facts = [f"combination={mixture.combination}"]
        if mixture.policy is not None:
            facts.append(f"policy={mixture.policy}@{mixture.policy_version}")
        if self.following is not None:
            facts += [f"scope={self.following.scope}", f"stride={self.following.stride}"]
        rest = ", ".join(["", *facts])
        while len(";".join(shares)) + len(rest) > MAX_HEADER_CHARS:
            shares = [*shares[: len(shares) // 2], "..."]
        return ";".join(shares) + rest

    def _told(self, step: TraceStep) -> dict[str, Any]:
        mixture = self.mixture
        told: dict[str, Any] = {
            "adapters": step.weights,
            "base_share": step.base_share,
            "combination": mixture.combination,
            "policy": mixture.policy,
            "policy_version": mixture.policy_version,
            "scope": "prompt",
        }
        if self.following is not None:
            told |= {"scope": self.following.scope, "stride": self.following.stride}
        return told


@dataclass(frozen=True, slots=True)
class Span:
    """The tokens that a chunk carries.

    Attributes:
        choice: number of the answer that they belong to.
        first: number of the first one, counted from 0 in its answer.
        count: how many; 0 in chunks that only announce something.
    """

    choice: int
    first: int
    count: int


def span_of(chunk: Mapping[str, Any], seen: Mapping[int, int]) -> Span | None:
    """Which tokens a chunk carries, by its running count of tokens.

    Text may lag behind: a token that ends within a character shows in a later chunk.

    Args:
        chunk: one chunk of a chat's or a completion's stream.
        seen: choice → how many of its tokens came before.

    Returns:
        None where the chunk belongs to no choice or does not count.
    """
    choices, usage = chunk.get("choices"), chunk.get("usage")
    if not choices or not usage:
        return None
    choice = int(choices[0].get("index", 0))
    first = seen.get(choice, 0)
    return Span(choice, first, max(0, int(usage["completion_tokens"]) - first))


def told_of(applied: Applied, tokens: Sequence[TraceStep]) -> dict[str, Any]:
    """What a chunk tells of its tokens, at least one: the first one's mixture, and all if several.

    The list has the short form of a trace's steps.
    """
    told: dict[str, Any] = {"mixture": applied.at(tokens[0])}
    if len(tokens) > 1:
        told["mixtures"] = [token.as_json() for token in tokens]
    return told


def as_wished(chunk: Mapping[str, Any], wish: UsageWish) -> Mapping[str, Any] | None:
    """A chunk without counts that the client did not ask for; None if nothing else was in it."""
    is_last = chunk.get("choices") == []
    if is_last and not wish.final:
        return None
    if is_last or (wish.final and wish.each):
        return chunk
    return {key: value for key, value in chunk.items() if key != "usage"}


class Report:
    """All that one answer tells: one :class:`Applied` for each prompt."""

    def __init__(
        self,
        applied: Sequence[Applied],
        *,
        in_chunks: bool,
        choices: int,
        recording: Recording | None = None,
        usage: UsageWish | None = None,
    ) -> None:
        """Prepare what goes into every chunk.

        Args:
            applied: what each prompt got.
            in_chunks: whether each streamed chunk is to carry it.
            choices: answers to each prompt (``n``).
            recording: the trace, where weights change while the answer grows.
            usage: what the client wants of the token counts that chunks were made to carry; None
                if it says so itself.
        """
        self._applied = applied
        self._in_chunks = in_chunks
        self._choices = max(1, choices)
        self._recording = recording
        self._usage = usage
        self._seen: dict[int, int] = {}
        self._prefixes = [
            b'data: {"mixture": ' + _dumped(one.as_json()) + b", " for one in applied
        ] * in_chunks
        self._partial = b""

    @property
    def header(self) -> str:
        """The header's value; of several prompts it tells the first one's and their number."""
        first = self._applied[0].as_header()
        return first if len(self._applied) == 1 else f"{first}, prompts={len(self._applied)}"

    def in_body(self, body: bytes) -> bytes:
        """Add the mixture to a JSON object, and the trace if there is one, which then ends."""
        if not body.startswith(b"{") or not body.endswith(b"}") or len(body) <= len(b"{}"):
            return body
        told = [one.as_json() for one in self._applied]
        added = b', "mixture": ' + _dumped(told[0])
        if len(told) > 1:
            added += b', "mixtures": ' + _dumped(told)
        if self._recording is not None:
            self._recording.finish()
            added += b', "trace": ' + _dumped(self._recording.trace.as_json())
        return body[:-1] + added + b"}"

    def in_stream(self, piece: bytes) -> bytes:
        """Rewrite the events that a piece of a stream completes; the rest waits for the next."""
        whole, end, self._partial = (self._partial + piece).rpartition(_EVENT_END)
        if not end:
            return b""
        if not self._in_chunks and b'{"error"' not in whole:
            return whole + end
        events = [self._event(event) for event in whole.split(_EVENT_END)]
        return b"".join(event + end for event in events if event is not None)

    def rest(self) -> bytes:
        """What an ended stream left incomplete."""
        left, self._partial = self._partial, b""
        return left

    def _event(self, event: bytes) -> bytes | None:
        """The event as it goes out; None if it does not."""
        lines = [self._line(line) for line in event.split(b"\n")]
        return None if None in lines else b"\n".join(line for line in lines if line is not None)

    def _line(self, line: bytes) -> bytes | None:
        if line.startswith(_DATA_ERROR):
            return _error_line(line)
        if not self._in_chunks or not line.startswith(_DATA_OBJECT):
            return line
        if self._recording is not None:
            return self._traced(line, self._recording)
        prefix = self._prefixes[0]
        if len(self._prefixes) > 1:
            prefix = self._prefixes[self._prompt_of(line)]
        return prefix + line.removeprefix(_DATA_OBJECT)

    def _traced(self, line: bytes, recording: Recording) -> bytes | None:
        """A chunk with the mixtures of its own tokens."""
        chunk = json.loads(line.removeprefix(b"data: "))
        span = span_of(chunk, self._seen)
        if span is None:
            choice = int((chunk.get("choices") or [{}])[0].get("index", 0))
            tokens = [recording.latest(choice=choice)]
        else:
            choice = span.choice
            tokens = recording.steps(span.first, max(1, span.count), choice=choice)
            self._seen[choice] = span.first + span.count
        kept = chunk if self._usage is None else as_wished(chunk, self._usage)
        if kept is None:
            return None
        applied = self._applied[min(choice // self._choices, len(self._applied) - 1)]
        return b"data: " + _dumped({**told_of(applied, tokens), **kept})

    def _prompt_of(self, line: bytes) -> int:
        """Choices are numbered prompt by prompt, ``n`` for each."""
        chunk = json.loads(line.removeprefix(b"data: "))
        choices = chunk.get("choices") or [{}]
        index = int(choices[0].get("index", 0))
        return min(index // self._choices, len(self._prefixes) - 1)


def stream_error(status: int, message: str) -> bytes:
    """The event that ends a stream which cannot go on."""
    return b"data: " + _dumped(translate({"message": message}, status)) + _EVENT_END


def _error_line(line: bytes) -> bytes:
    """An error that vLLM put into a stream, in our envelope."""
    try:
        error = json.loads(line.removeprefix(b"data: "))["error"]
    except (ValueError, KeyError, TypeError):
        return line
    foreign = error if isinstance(error, Mapping) else {"message": str(error)}
    code = foreign.get("code")
    status = code if isinstance(code, int) and 400 <= code <= 599 else 500
    return b"data: " + _dumped(translate(foreign, status))


def _dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode()
