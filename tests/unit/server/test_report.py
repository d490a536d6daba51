import json

import pytest

from router.mixture import BASE_MODEL, Member, Mixture
from router.router import RouteDecision
from server.report import MAX_HEADER_CHARS, Applied, Report, stream_error


def mixture(weights: dict[str, float], **options) -> Mixture:
    return Mixture.of([Member(n, f"d-{n}", w) for n, w in weights.items()], **options)


def decided(weights: dict[str, float], fallback: str | None = None) -> Applied:
    made = mixture(weights, base_share=0.1, policy="auto", policy_version="1a2b")
    decision = RouteDecision(
        made, {"maths": 0.51239, "code": 0.2}, "auto", "1a2b", 1, 1, fallback, ""
    )
    return Applied(made, decision)


def report(*applied: Applied, in_chunks: bool = False, choices: int = 1) -> Report:
    return Report(applied, in_chunks=in_chunks, choices=choices)


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
    error = json.loads(stream_error(500, "").strip()[6:])["error"]
    assert error["code"] == "internal_error"
