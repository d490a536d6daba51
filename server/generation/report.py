"""What an answer says of the mixture that made it: a header, a JSON object, and both in streams.

Where the scope is ``token`` or ``recompute``, each chunk tells the mixture of its own tokens, and a
JSON body the whole trace.
"""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from server.edge.errors.error_shape import EngineFailed
from server.edge.errors.error_status import error_body, translate
from server.errors import EngineUnavailable
from server.generation.token_counts import StreamCounts, as_requested, span_of
from server.traces.applied import Applied
from server.traces.recording import Recording
from server.traces.trace import TraceStep

_EVENT_END = b"\n\n"
_DATA_OBJECT = b"data: {"
_DATA_ERROR = b'data: {"error"'


def chunk_fields(applied: Applied, tokens: Sequence[TraceStep]) -> dict[str, Any]:
    """What a chunk tells of its tokens, at least one: the first one's mixture, and all if several.

    The list has the short form of a trace's steps.
    """
    fields: dict[str, Any] = {"mixture": applied.at(tokens[0])}
    if len(tokens) > 1:
        fields["mixtures"] = [token.as_json() for token in tokens]
    return fields


class Report:
    """All that one answer tells: one :class:`Applied` for each prompt."""

    def __init__(
        self,
        applied: Sequence[Applied],
        *,
        in_chunks: bool,
        choices: int,
        recording: Recording | None = None,
        usage: StreamCounts | None = None,
        engine_failed: EngineFailed = lambda: False,
    ) -> None:
        """Prepare what goes into every chunk.

        Args:
            applied: what each prompt got.
            in_chunks: whether each streamed chunk is to carry it.
            choices: answers to each prompt (``n``).
            recording: the trace, where weights change while the answer grows.
            usage: what the client wants of the token counts that chunks were made to carry; None
                if it says so itself.
            engine_failed: whether the engine has died: an error is put down to that then.
        """
        self._applied = applied
        self._in_chunks = in_chunks
        self._choices = max(1, choices)
        self._recording = recording
        self._usage = usage
        self._engine_failed = engine_failed
        self._sent: dict[int, int] = {}
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
        mixtures = [one.as_json() for one in self._applied]
        added = b', "mixture": ' + _dumped(mixtures[0])
        if len(mixtures) > 1:
            added += b', "mixtures": ' + _dumped(mixtures)
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

    def broken_off(self, refusal: Mapping[str, object] | None = None) -> bytes:
        """The event that ends a stream which cannot go on.

        Args:
            refusal: what vLLM says, if the request is at fault.
        """
        status = HTTPStatus.INTERNAL_SERVER_ERROR if refusal is None else HTTPStatus.BAD_REQUEST
        return _error_event(self._error(refusal or {}, status)) + _EVENT_END

    def _error(self, foreign: Mapping[str, object], status: int) -> Mapping[str, object]:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR and self._engine_failed():
            return error_body(EngineUnavailable())
        return translate(foreign, status)

    def _event(self, event: bytes) -> bytes | None:
        """The event as it goes out; None if it does not."""
        lines = [self._line(line) for line in event.split(b"\n")]
        return None if None in lines else b"\n".join(line for line in lines if line is not None)

    def _line(self, line: bytes) -> bytes | None:
        if line.startswith(_DATA_ERROR):
            return self._error_line(line)
        if not self._in_chunks or not line.startswith(_DATA_OBJECT):
            return line
        if self._recording is not None:
            return self._traced(line, self._recording)
        prefix = self._prefixes[0]
        if len(self._prefixes) > 1:
            prefix = self._prefixes[self._prompt_of(line)]
        return prefix + line.removeprefix(_DATA_OBJECT)

    def _error_line(self, line: bytes) -> bytes:
        """An error that vLLM put into a stream, in our envelope."""
        try:
            error = json.loads(line.removeprefix(b"data: "))["error"]
        except (ValueError, KeyError, TypeError):
            return line
        foreign = error if isinstance(error, Mapping) else {"message": str(error)}
        code = foreign.get("code")
        status = code if isinstance(code, int) and 400 <= code <= 599 else 500
        return _error_event(self._error(foreign, status))

    def _traced(self, line: bytes, recording: Recording) -> bytes | None:
        """A chunk with the mixtures of its own tokens."""
        chunk = json.loads(line.removeprefix(b"data: "))
        span = span_of(chunk, self._sent)
        if span is None:
            choice = int((chunk.get("choices") or [{}])[0].get("index", 0))
            tokens = [recording.latest(choice=choice)]
        else:
            choice = span.choice
            tokens = recording.steps(span.first, max(1, span.count), choice=choice)
            self._sent[choice] = span.first + span.count
        kept = chunk if self._usage is None else as_requested(chunk, self._usage)
        if kept is None:
            return None
        applied = self._applied[min(choice // self._choices, len(self._applied) - 1)]
        return b"data: " + _dumped({**chunk_fields(applied, tokens), **kept})

    def _prompt_of(self, line: bytes) -> int:
        """Choices are numbered prompt by prompt, ``n`` for each."""
        chunk = json.loads(line.removeprefix(b"data: "))
        choices = chunk.get("choices") or [{}]
        index = int(choices[0].get("index", 0))
        return min(index // self._choices, len(self._prefixes) - 1)


def _error_event(body: Mapping[str, object]) -> bytes:
    return b"data: " + _dumped(body)


def _dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode()
