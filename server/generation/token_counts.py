"""Token counts of streams: asked for to tell whose mixture a chunk has, shown as clients want."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StreamCounts:
    """What a client wants of a stream's token counts.

    Attributes:
        final: a last chunk that counts all.
        each: a running count in each chunk, too.
    """

    final: bool
    each: bool


def counting(fields: Mapping[str, Any]) -> tuple[dict[str, Any], StreamCounts] | None:
    """Let every chunk of a stream count its tokens, which tells whose mixture it has to show.

    Args:
        fields: a cleaned body of a chat or a completion.

    Returns:
        The body that counts, and what the client itself asked for; None if what it asked for is no
        answer to that, and vLLM has to say so.
    """
    options = fields.get("stream_options")
    options = {} if options is None else options
    if not isinstance(options, Mapping):
        return None
    final, each = options.get("include_usage"), options.get("continuous_usage_stats")
    if not all(value is None or isinstance(value, bool) for value in (final, each)):
        return None
    counted = {**options, "include_usage": True, "continuous_usage_stats": True}
    return {**fields, "stream_options": counted}, StreamCounts(bool(final), bool(each))


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


def span_of(chunk: Mapping[str, Any], sent: Mapping[int, int]) -> Span | None:
    """Which tokens a chunk carries, by its running count of tokens.

    Text may lag behind: a token that ends within a character shows in a later chunk.

    Args:
        chunk: one chunk of a chat's or a completion's stream.
        sent: choice → how many of its tokens came before.

    Returns:
        None where the chunk belongs to no choice or does not count.
    """
    choices, usage = chunk.get("choices"), chunk.get("usage")
    if not choices or not usage:
        return None
    choice = int(choices[0].get("index", 0))
    first = sent.get(choice, 0)
    return Span(choice, first, max(0, int(usage["completion_tokens"]) - first))


def as_requested(chunk: Mapping[str, Any], counts: StreamCounts) -> Mapping[str, Any] | None:
    """A chunk without counts that the client did not ask for; None if nothing else was in it."""
    is_last = chunk.get("choices") == []
    if is_last and not counts.final:
        return None
    if is_last or (counts.final and counts.each):
        return chunk
    return {key: value for key, value in chunk.items() if key != "usage"}
