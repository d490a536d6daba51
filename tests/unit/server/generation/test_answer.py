import asyncio
import json

import pytest

from server.errors import TraceNotFound
from server.generation.answer import Answer
from server.generation.report import Report
from server.traces.applied import Applied
from server.traces.store import TraceStore
from server.traces.trace import TraceHead, TraceStep
from tests.support.following import follows

DECISION = follows({"maths": 1.0}, 2)


class Exchange:
    """One answer on its way to a client, with its trace."""

    def __init__(self) -> None:
        self.store = TraceStore()
        head = TraceHead("r", "auto", "v", "token", 2, "cat", ("maths",))
        self.recording = self.store.begin("", head, [TraceStep.of(0, DECISION.mixture)])
        applied = Applied(DECISION.mixture, DECISION)
        report = Report([applied], in_chunks=False, choices=1, recording=self.recording)
        self.sent: list[dict] = []
        self.answer = Answer(report, self._take)

    async def _take(self, message) -> None:
        self.sent.append(message)

    def send(self, *messages) -> None:
        async def scenario():
            for message in messages:
                await self.answer.send(message)

        asyncio.run(scenario())

    def close(self) -> None:
        self.answer.close(self.recording)

    @property
    def kept(self) -> bool:
        try:
            return self.store.get("", "r").finished
        except TraceNotFound:
            return False


def start(status: int, media: bytes = b"application/json") -> dict:
    return {"type": "http.response.start", "status": status, "headers": [(b"content-type", media)]}


def body(piece: bytes, more: bool = False) -> dict:
    return {"type": "http.response.body", "body": piece, "more_body": more}


def test_a_json_answer_carries_its_trace_and_leaves_it():
    exchange = Exchange()
    exchange.recording.add(2, {"code": 1.0})
    exchange.recording.generated(3)
    exchange.send(start(200), body(b'{"id":', True), body(b" 1}"))
    exchange.close()
    told = json.loads(exchange.sent[-1]["body"])
    assert told["trace"] == exchange.store.get("", "r").as_json()
    assert told["trace"]["finished"]
    assert told["mixture"]["scope"] == "token"
    lengths = dict(exchange.sent[0]["headers"])
    assert int(lengths[b"content-length"]) == len(exchange.sent[-1]["body"])


def test_a_stream_leaves_its_trace_when_it_has_ended():
    exchange = Exchange()
    exchange.send(start(200, b"text/event-stream"), body(b"data: [DONE]\n\n", True))
    assert not exchange.kept
    exchange.send(body(b""))
    exchange.close()
    assert exchange.kept


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [start(500), body(b"{}")],
        [start(200), body(b'{"id":', True)],
        [start(200, b"text/event-stream"), body(b"data: {}\n\n", True)],
    ],
    ids=["none", "error", "half", "stream"],
)
def test_an_answer_that_did_not_come_to_its_end_leaves_nothing(messages):
    exchange = Exchange()
    exchange.send(*messages)
    exchange.close()
    assert (exchange.store.traces, exchange.store.running) == (0, 0)


def test_a_stream_that_broke_off_leaves_nothing():
    exchange = Exchange()
    exchange.send(start(200, b"text/event-stream"), body(b"data: {}\n\n", True))
    asyncio.run(exchange.answer.break_off())
    exchange.close()
    assert b"internal_error" in exchange.sent[-1]["body"]
    assert (exchange.store.traces, exchange.store.running) == (0, 0)
