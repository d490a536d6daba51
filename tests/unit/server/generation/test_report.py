import json

import pytest

from router.decision import RouteDecision
from router.mixture import BASE_MODEL, Member, Mixture
from server.generation.report import Report, chunk_fields
from server.generation.token_counts import Span, StreamCounts, as_requested, span_of
from server.traces.applied import MAX_HEADER_CHARS, Applied
from server.traces.store import TraceStore
from server.traces.trace import TraceHead, TraceStep
from tests.support.following import follows


def mixture(weights: dict[str, float], **options) -> Mixture:
    return Mixture.of([Member(n, f"d-{n}", w) for n, w in weights.items()], **options)


def decided(weights: dict[str, float], fallback: str | None = None) -> Applied:
    made = mixture(weights, base_share=0.1, policy="auto", policy_version="1a2b")
    decision = RouteDecision(
        made, {"maths": 0.51239, "code": 0.2}, "auto", "1a2b", 1, 1, fallback, ""
    )
    return Applied(made, decision)


def report(*applied: Applied, in_chunks: bool = False, choices: int = 1, **more) -> Report:
    return Report(applied, in_chunks=in_chunks, choices=choices, **more)


def test_the_object_tells_what_was_applied():
    assert decided({"maths": 0.6, "code": 0.3}).as_json() == {
        "adapters": {"maths": 0.6, "code": 0.3},
        "base_share": 0.1,
        "combination": "cat",
        "policy": "auto",
        "policy_version": "1a2b",
        "scope": "prompt",
        "scores": {"maths": 0.5124, "code": 0.2},
        "fallback": None,
    }


def test_the_base_model_has_all_the_share():
    told = Applied(BASE_MODEL).as_json()
    assert (told["adapters"], told["base_share"], told["policy"]) == ({}, 1.0, None)
    assert Applied(BASE_MODEL).as_header() == "base=1, combination=cat"


def test_the_header_is_compact():
    given = Applied(mixture({"maths": 0.7, "code": 0.3}, combination="linear"))
    assert given.as_header() == "maths=0.7;code=0.3, combination=linear"
    routed = decided({"maths": 0.6, "code": 0.3})
    assert routed.as_header() == "maths=0.6;code=0.3;base=0.1, combination=cat, policy=auto@1a2b"
    assert report(routed, routed).header.endswith(", prompts=2")


def test_the_header_stays_short_and_ascii():
    many = Applied(mixture({f"{'n' * 50}{i}": 1.0 for i in range(200)}))
    assert len(many.as_header()) <= MAX_HEADER_CHARS
    assert many.as_header().isascii()
    assert ";..., combination=cat" in many.as_header()


def test_a_json_answer_gets_the_object():
    one = decided({"maths": 0.6})
    told = json.loads(report(one).in_body(b'{"id": "x", "choices": []}'))
    assert told == {"id": "x", "choices": [], "mixture": one.as_json()}
    two = json.loads(report(one, Applied(BASE_MODEL)).in_body(b'{"id": 1}'))
    assert two["mixtures"] == [one.as_json(), Applied(BASE_MODEL).as_json()]


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b"{"])
def test_other_answers_are_left_alone(body):
    assert report(Applied(BASE_MODEL)).in_body(body) == body


def events(raw: bytes) -> list[bytes]:
    return [event for event in raw.split(b"\n\n") if event]


STREAM = b'data: {"id": 1, "choices": []}\n\ndata: {"id": 2}\n\n: ping\n\ndata: [DONE]\n\n'


def test_a_stream_passes_unchanged_unless_asked():
    assert report(decided({"maths": 1})).in_stream(STREAM) == STREAM


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_every_chunk_tells_the_mixture_however_it_is_cut(size):
    one = decided({"maths": 0.6})
    maker = report(one, in_chunks=True)
    raw = b"".join(maker.in_stream(STREAM[i : i + size]) for i in range(0, len(STREAM), size))
    assert maker.rest() == b""
    first, second, ping, done = events(raw)
    assert json.loads(first[6:]) == {"mixture": one.as_json(), "id": 1, "choices": []}
    assert json.loads(second[6:])["mixture"] == one.as_json()
    assert (ping, done) == (b": ping", b"data: [DONE]")


def test_named_events_keep_their_names():
    raw = report(decided({"maths": 1}), in_chunks=True).in_stream(
        b'event: response.created\ndata: {"type": "response.created"}\n\n'
    )
    name, data = raw.strip().split(b"\n")
    assert name == b"event: response.created"
    assert "mixture" in json.loads(data[6:])


def test_each_choice_tells_the_mixture_of_its_own_prompt():
    first, second = decided({"maths": 1}), Applied(BASE_MODEL)
    maker = report(first, second, in_chunks=True, choices=2)
    told = []
    for index in range(4):
        chunk = json.dumps({"choices": [{"index": index, "text": "t"}]}).encode()
        told.append(json.loads(maker.in_stream(b"data: " + chunk + b"\n\n")[6:])["mixture"])
    assert told == [first.as_json()] * 2 + [second.as_json()] * 2


def test_an_error_in_a_stream_gets_our_envelope():
    foreign = b'data: {"error": {"message": "boom at /srv/x/y", "type": "X", "code": 500}}\n\n'
    for in_chunks in (False, True):
        raw = report(decided({"maths": 1}), in_chunks=in_chunks).in_stream(foreign)
        error = json.loads(raw.strip()[6:])["error"]
        assert error["code"] == "internal_error"
        assert error["type"] == "server_error"
        assert "/srv" not in error["message"]


def test_what_a_stream_left_unfinished_is_passed_on():
    maker = report(decided({"maths": 1}))
    assert maker.in_stream(b"data: [DO") == b""
    assert maker.rest() == b"data: [DO"


def test_a_broken_stream_ends_with_an_error():
    broken = report(decided({"maths": 1})).broken_off()
    assert json.loads(broken.strip()[6:])["error"]["code"] == "internal_error"


def test_a_stream_broken_by_its_request_says_what_is_wrong_with_it():
    said = {"message": "'top_k' must be more than 0", "param": "top_k"}
    broken = report(decided({"maths": 1})).broken_off(said)
    error = json.loads(broken.strip()[6:])["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "top_k")
    assert error["message"] == said["message"]


@pytest.mark.parametrize("code", [400, 500, 503])
def test_a_stream_that_the_engine_leaves_says_so(code):
    maker = report(decided({"maths": 1}), engine_failed=lambda: True)
    foreign = json.dumps({"error": {"message": "boom", "type": "X", "code": code}}).encode()
    told = [maker.broken_off(), maker.in_stream(b"data: " + foreign + b"\n\n")]
    codes = [json.loads(event.strip()[6:])["error"]["code"] for event in told]
    assert codes == ["engine_failed", "invalid_request" if code == 400 else "engine_failed"]


MATHS, CODE = {"maths": 0.75, "code": 0.25}, {"code": 1.0}
DECISION = follows(MATHS, 2, base_share=0.1)
REWEIGHED = Applied(DECISION.mixture, DECISION)
VERSION = DECISION.policy_version


def counted(total: int | None, index: int = 0, **keys) -> dict:
    usage = {} if total is None else {"usage": {"completion_tokens": total, "prompt_tokens": 9}}
    return {"choices": [{"index": index, "text": "t"}], **keys, **usage}


@pytest.mark.parametrize(
    ("chunk", "span"),
    [
        (counted(0), Span(0, 4, 0)),
        (counted(4), Span(0, 4, 0)),
        (counted(5), Span(0, 4, 1)),
        (counted(7), Span(0, 4, 3)),
        (counted(2, index=1), Span(1, 0, 2)),
        (counted(None), None),
        ({"choices": [], "usage": {"completion_tokens": 7}}, None),
        ({"type": "response.created"}, None),
        ({"choices": [{"index": 0}], "usage": None}, None),
    ],
)
def test_a_chunks_tokens_are_those_that_were_not_counted_before(chunk, span):
    assert span_of(chunk, {0: 4}) == span


def test_a_chunk_tells_its_first_token_and_all_if_there_are_several():
    one, two = TraceStep(3, MATHS, 0.1), TraceStep(4, CODE)
    told = {
        "adapters": MATHS,
        "base_share": 0.1,
        "combination": "cat",
        "policy": "auto",
        "policy_version": VERSION,
        "scope": "token",
        "stride": 2,
        "token": 3,
    }
    assert chunk_fields(REWEIGHED, [one]) == {"mixture": told}
    assert chunk_fields(REWEIGHED, [one, two]) == {
        "mixture": told,
        "mixtures": [
            {"token": 3, "weights": MATHS, "base_share": 0.1},
            {"token": 4, "weights": CODE, "base_share": 0.0},
        ],
    }


def test_a_client_sees_the_counts_that_it_asked_for():
    last = {"choices": [], "usage": {"completion_tokens": 3}}
    plain = counted(None, id="x")
    for final, each in ((False, False), (True, False), (True, True), (False, True)):
        counts = StreamCounts(final, each)
        assert as_requested(last, counts) == (last if final else None)
        assert as_requested(counted(2, id="x"), counts) == (
            counted(2, id="x") if final and each else plain
        )


def test_the_object_and_the_header_tell_the_scope():
    told = REWEIGHED.as_json()
    assert (told["scope"], told["stride"], told["adapters"]) == ("token", 2, MATHS)
    assert REWEIGHED.as_header().endswith(f"policy=auto@{VERSION}, scope=token, stride=2")
    assert "scope" not in decided(MATHS).as_header()


class Stream:
    """A stream of one request that is weighed again every two tokens."""

    def __init__(
        self, choices: int = 1, prompts: int = 1, usage: StreamCounts | None = None
    ) -> None:
        head = TraceHead("r", "auto", "1a2b", "token", 2, "cat", ("code", "maths"), choices)
        first = [TraceStep.of(0, REWEIGHED.mixture)] * prompts
        self.recording = TraceStore().begin("", head, first)
        self.report = Report(
            [REWEIGHED] * prompts,
            in_chunks=True,
            choices=choices,
            recording=self.recording,
            usage=usage,
        )

    def chunk(self, value: dict) -> dict | None:
        raw = self.report.in_stream(b"data: " + json.dumps(value).encode() + b"\n\n")
        return json.loads(raw.removeprefix(b"data: ")) if raw else None


def test_each_chunk_tells_the_mixture_of_its_own_tokens():
    stream = Stream(usage=StreamCounts(False, False))
    role = stream.chunk(counted(0, id="x"))
    assert (role["mixture"]["token"], role["mixture"]["adapters"]) == (0, MATHS)
    assert list(role) == ["mixture", "choices", "id"]
    stream.recording.add(2, CODE)
    stream.recording.add(4, MATHS, base_share=0.3)
    several = stream.chunk(counted(3))
    assert several["mixture"]["token"] == 0
    assert [(m["token"], m["weights"]) for m in several["mixtures"]] == [
        *[(0, MATHS), (1, MATHS), (2, CODE)]
    ]
    single = stream.chunk(counted(4))
    assert (single["mixture"]["token"], single["mixture"]["adapters"]) == (3, CODE)
    assert "mixtures" not in single
    held_back = stream.chunk(counted(4))
    assert held_back["mixture"]["token"] == 4
    assert held_back["mixture"]["base_share"] == 0.3
    assert stream.chunk({"choices": [], "usage": {"completion_tokens": 4}}) is None


def test_choices_are_counted_apart():
    stream = Stream(choices=2, prompts=2, usage=StreamCounts(True, True))
    stream.recording.add(2, CODE, choice=3)
    assert stream.chunk(counted(2, index=0))["mixture"]["token"] == 0
    first = stream.chunk(counted(2, index=3))
    second = stream.chunk(counted(3, index=3))
    assert [one["mixture"]["token"] for one in (first, second)] == [0, 2]
    assert second["mixture"]["adapters"] == CODE
    assert stream.chunk(counted(3, index=0))["mixture"]["adapters"] == MATHS
    assert second["usage"]["completion_tokens"] == 3


def test_a_chunk_that_does_not_count_tells_the_newest_mixture():
    stream = Stream()
    stream.recording.add(2, CODE)
    told = stream.chunk({"type": "response.output_text.delta", "delta": "x"})
    assert (told["mixture"]["adapters"], told["mixture"]["token"]) == (CODE, 2)


def test_dropped_chunks_leave_the_others_as_they_are():
    stream = Stream(usage=StreamCounts(False, False))
    last = b'data: {"choices": [], "usage": {"completion_tokens": 1}}\n\n'
    raw = stream.report.in_stream(b": ping\n\n" + last + b"data: [DONE]\n\n")
    assert raw == b": ping\n\ndata: [DONE]\n\n"


def test_a_json_answer_gets_the_whole_trace():
    stream = Stream()
    stream.recording.add(2, CODE)
    stream.recording.add(4, MATHS)
    stream.recording.generated(3)
    told = json.loads(stream.report.in_body(b'{"id": "x"}'))
    assert told["mixture"] == REWEIGHED.as_json()
    assert told["trace"] == stream.recording.trace.as_json()
    assert [step["token"] for step in told["trace"]["choices"][0]["steps"]] == [0, 2]
