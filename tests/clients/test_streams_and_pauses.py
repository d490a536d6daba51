"""What the client makes of a stream's bytes, and how long it waits before it asks again."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loralloy_client import Retries, errors
from loralloy_client._events import ChunkReader, EventReader
from loralloy_client._retry import Repeat, may_become_ready
from loralloy_client.generations import ChatChunk

# Streams.

STREAM = 'data: {"a": "ü"}\r\n\r\n: note\nevent: x\ndata: 1\ndata:2\n\n\n\ndata: [DONE]\r\rdata: x'


@given(st.lists(st.integers(0, len(STREAM.encode())), max_size=8))
def test_events_are_the_same_wherever_the_stream_is_cut(cuts):
    raw = STREAM.encode()
    edges = [0, *sorted(cuts), len(raw)]
    reader = EventReader()
    pieces = [raw[a:b] for a, b in pairwise(edges)]
    found = [data for piece in pieces for data in reader.feed(piece)]
    assert found == ['{"a": "ü"}', "1\n2", "[DONE]"]


CHUNK = {
    "id": "c",
    "model": "m",
    "created": 1,
    "choices": [{"index": 0, "delta": {"content": "x"}}],
}


def test_chunks_are_typed_and_keep_what_is_new():
    reader = ChunkReader(ChatChunk, "r1")
    data = json.dumps({**CHUNK, "novel": 3})
    (chunk,) = reader.feed(f"data: {data}\n\n".encode())
    assert (chunk.text, chunk.request_id, chunk.novel) == ("x", "r1", 3)
    with pytest.raises(errors.StreamBroken):
        reader.end()
    assert list(reader.feed(b"data: [DONE]\n\n")) == []
    reader.end()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ('{"error": {"message": "m", "code": "engine_failed"}}', errors.EngineUnavailable),
        ('{"choices": []}', errors.UnexpectedAnswer),
        ("{", errors.UnexpectedAnswer),
        ("7", errors.UnexpectedAnswer),
    ],
)
def test_events_that_are_no_chunk_are_errors(data, kind):
    with pytest.raises(kind):
        list(ChunkReader(ChatChunk, None).feed(f"data: {data}\n\n".encode()))


# Pauses.

REFUSED = errors.AdaptersBusy("m", status=503)
SOON = errors.AdaptersBusy("m", status=503, retry_after=3.0)
LATE = errors.Overloaded("m", status=429, retry_after=1e6)
RETRIES = Retries(repeats=50, first_s=1.0, longest_s=10.0)


def test_pauses_double_up_to_the_longest():
    pauses = [RETRIES.pause(REFUSED, Repeat.SAFE, tried=n, chance=0.0) for n in range(1, 7)]
    assert pauses == [1, 2, 4, 8, 10, 10]
    assert RETRIES.pause(REFUSED, Repeat.SAFE, tried=2, chance=1.0) == 1.0
    assert Retries(repeats=5000).pause(REFUSED, Repeat.SAFE, tried=4000, chance=0.0) == 30.0


def test_the_servers_own_word_wins_but_is_capped():
    assert RETRIES.pause(SOON, Repeat.SAFE, tried=1, chance=0.5) == 3.0
    assert RETRIES.pause(LATE, Repeat.SAFE, tried=1, chance=0.5) == 10.0


@pytest.mark.parametrize(
    ("failure", "repeated"),
    [
        (REFUSED, {Repeat.SAFE, Repeat.UNLESS_SENT}),
        (errors.Overloaded("m", status=429), {Repeat.SAFE, Repeat.UNLESS_SENT}),
        (errors.NotConnected("m"), {Repeat.SAFE, Repeat.UNLESS_SENT}),
        (errors.ConnectionLost("m"), {Repeat.SAFE}),
        (errors.TimedOut("m"), set()),
        (errors.ServerFailed("m", status=500), set()),
        (errors.InvalidRequest("m", status=400), set()),
        (errors.UnexpectedAnswer("m"), set()),
        (errors.EngineUnavailable("m"), set()),  # inside a stream: it has begun
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_only_what_does_no_harm_is_repeated(failure, repeated):
    kinds = {
        kind for kind in Repeat if RETRIES.pause(failure, kind, tried=1, chance=0.0) is not None
    }
    assert kinds == repeated


def test_repeats_end():
    assert Retries(repeats=1).pause(REFUSED, Repeat.SAFE, tried=1, chance=0.0) == 0.5
    assert Retries(repeats=1).pause(REFUSED, Repeat.SAFE, tried=2, chance=0.0) is None
    assert Retries(repeats=0).pause(REFUSED, Repeat.SAFE, tried=1, chance=0.0) is None
    for wrong in ({"repeats": -1}, {"first_s": -1.0}, {"first_s": 9.0, "longest_s": 1.0}):
        with pytest.raises(ValueError, match="repeats must be"):
            Retries(**wrong)


def test_a_dead_engine_is_not_waited_for():
    assert may_become_ready(errors.NotReady("m", status=503))
    assert may_become_ready(errors.NotConnected("m"))
    assert may_become_ready(errors.ServerFailed("m", status=502))
    assert not may_become_ready(errors.EngineUnavailable("m", status=503))
    assert not may_become_ready(errors.Unauthorized("m", status=401))
    assert not may_become_ready(errors.UnexpectedAnswer("m"))
