"""How many traces and steps are kept, and which go first."""

import pytest

from server.errors import TraceNotFound
from server.traces.settings import TraceSettings
from server.traces.store import TraceStore
from tests.support.traces import CODE, MATHS, Clock, begin, tokens_of


def test_finished_traces_leave_when_they_are_old():
    clock = Clock()
    store = TraceStore(TraceSettings(keep_s=60), clock)
    begin(store, "old").finish()
    clock.now += 40
    begin(store, "new").finish()
    running = begin(store, "running")
    clock.now += 30
    with pytest.raises(TraceNotFound):
        store.get("t", "old")
    assert store.get("t", "new").finished
    clock.now += 1000
    assert (store.traces, store.running) == (1, 1), "only the running one is left"
    running.finish()
    assert store.get("t", "running").finished


def test_the_oldest_finished_trace_makes_room():
    store = TraceStore(TraceSettings(max_traces=3))
    first, second = begin(store, "first"), begin(store, "second")
    second.finish()
    first.finish()
    begin(store, "third")
    begin(store, "fourth")
    with pytest.raises(TraceNotFound):
        store.get("t", "second")
    assert store.get("t", "first").finished
    assert store.traces == 3


def test_running_traces_are_bounded_too_and_their_chunks_still_right():
    store = TraceStore(TraceSettings(max_traces=2))
    kept = [begin(store, f"r{number}") for number in range(2)]
    extra = begin(store, "extra")
    extra.add(2, CODE)
    assert (store.traces, store.steps) == (2, 0)
    with pytest.raises(TraceNotFound):
        store.get("t", "extra")
    assert extra.steps(2, 1)[0].weights == CODE
    extra.finish()
    for recording in kept:
        recording.finish()
    assert (store.traces, store.running) == (2, 0)


def test_one_trace_has_so_many_steps_and_says_so():
    store = TraceStore(TraceSettings(max_trace_steps=3))
    recording = begin(store)
    for token in range(2, 20, 2):
        recording.add(token, CODE if token % 4 else MATHS)
    trace = store.get("t", "r")
    assert [step.token for step in trace.choices[0].steps] == [0, 2, 4, 6]
    assert trace.truncated
    assert recording.latest().token == 18
    assert store.steps == 3


def test_steps_of_all_traces_are_bounded():
    store = TraceStore(TraceSettings(max_steps=10))
    for name in ("a", "b"):
        recording = begin(store, name)
        for token in range(4):
            recording.add(token, CODE)
        recording.finish()
    recording = begin(store, "c")
    for token in range(20):
        recording.add(token, CODE)
        assert store.steps <= 10
    assert store.traces == 1, "both finished ones made room"
    assert recording.trace.truncated
    assert len(recording.trace.choices[0].steps) == 10
    recording.discard()
    assert store.steps == 0


def test_an_id_used_again_stands_for_the_request_that_began_last():
    store = TraceStore()
    older, newer = begin(store), begin(store)
    older.add(2, CODE)
    newer.add(2, MATHS)
    newer.add(4, CODE)
    newer.finish()
    older.finish()
    assert tokens_of(store) == [0, 2, 4]
    assert (store.traces, store.running, store.steps) == (2, 0, 3)
    newer.discard()
    assert (store.traces, store.steps) == (1, 1)
    with pytest.raises(TraceNotFound):
        store.get("t", "r")


def test_an_answers_own_id_finds_its_trace_also_where_the_requests_id_is_used_again():
    store = TraceStore(TraceSettings(max_traces=2))
    first, second = begin(store), begin(store)
    first.add(2, CODE)
    second.add(4, CODE)
    ids = [one.head.answer_id for one in (first, second)]
    assert [tokens_of(store, one) for one in ids] == [[0, 2], [0, 4]]
    first.finish()
    second.finish()
    assert [tokens_of(store, one) for one in ids] == [[0, 2], [0, 4]]
    with pytest.raises(TraceNotFound):
        store.get("another tenant", ids[0])
    begin(store)  # makes room, as the oldest goes
    with pytest.raises(TraceNotFound):
        store.get("t", ids[0])
    assert tokens_of(store, ids[1]) == [0, 4]
    second.discard()
    with pytest.raises(TraceNotFound):
        store.get("t", ids[1])
