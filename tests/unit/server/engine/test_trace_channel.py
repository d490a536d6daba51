"""Weighings arrive at whoever listens to their request, and at nobody else."""

import time
from collections.abc import Iterator

import pytest

from server.engine.messages import Weighing
from server.engine.trace_channel import TraceReceiver, TraceSender


@pytest.fixture
def receiver() -> Iterator[TraceReceiver]:
    made = TraceReceiver()
    yield made
    made.close()


def arrived(heard: list, count: int) -> bool:
    deadline = time.monotonic() + 20
    while len(heard) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return len(heard) == count


def test_weighings_arrive_in_order_with_their_choice(receiver: TraceReceiver) -> None:
    sender = TraceSender(receiver.address)
    heard: list = []
    with receiver.open("one", lambda *weighing: heard.append(weighing)):
        first = Weighing("one", "one-5af0", 1, ((1, 0.25), (2, 0.75)))
        sender.send([Weighing("other", "other-1", 1, ((1, 1.0),)), first])
        sender.send([Weighing("one", "3_one-5af0", 2, ())])
        assert arrived(heard, 2)
    assert heard == [(0, 1, ((1, 0.25), (2, 0.75))), (3, 2, ())]
    assert receiver.open_traces == 0
    assert sender.dropped == 0


def test_a_listener_that_fails_stops_no_other(receiver: TraceReceiver) -> None:
    sender = TraceSender(receiver.address)
    heard: list = []

    def refuse(choice: int, number: int, weighed: object) -> None:
        raise ValueError("there is no such choice")

    with (
        receiver.open("bad", refuse),
        receiver.open("good", lambda *weighing: heard.append(weighing)),
    ):
        sender.send([Weighing("bad", "bad", 1, ()), Weighing("good", "good", 1, ())])
        assert arrived(heard, 1)
