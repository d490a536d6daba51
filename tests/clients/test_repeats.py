"""Repeats, timeouts and broken connections of both clients, over real sockets."""

import socket
import time

import pytest

from loralloy_client import Retries, errors
from tests.support.both_clients import KINDS, client_of
from tests.support.running_server import free_port
from tests.support.scripted_server import LOST, Answer, refuses, says, scripted

FAST = Retries(repeats=2, first_s=0.0, longest_s=5.0)
MIXTURE = {"adapters": {"a": 1.0}, "base_share": 0.0}
HEAD = {"id": "c", "model": "m", "created": 1}
CHAT = {
    **HEAD,
    "mixture": MIXTURE,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}}],
}
EVENT = (
    b'data: {"id": "c", "model": "m", "created": 1,'
    b' "choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n'
)
REMOVED = {"id": "a", "digest": "d", "deleted": True}


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


def test_a_busy_server_is_asked_again(kind):
    script = (refuses(503, "adapters_busy"), refuses(429, "overloaded"), says(CHAT))
    with scripted(*script) as server, client_of(kind, server.url, retries=FAST) as client:
        answer = client.chat("hi", model="a")
    assert answer.text == "yes"
    assert len(server.seen) == 3
    assert len({body for *_, body in server.seen}) == 1


def test_it_is_not_asked_for_ever(kind):
    script = refuses(503, "adapters_busy", X_Request_Id="r1")
    with scripted(script) as server, client_of(kind, server.url, retries=FAST) as client:
        with pytest.raises(errors.AdaptersBusy) as refused:
            client.chat("hi")
        assert refused.value.request_id == "r1"
        assert len(server.seen) == 3


def test_retry_after_is_waited_for_up_to_the_cap(kind):
    retries = Retries(repeats=1, first_s=0.0, longest_s=0.3)
    script = (refuses(503, "not_ready", Retry_After="60"), says({"data": []}))
    with scripted(*script) as server, client_of(kind, server.url, retries=retries) as client:
        started = time.monotonic()
        assert client.adapters.list() == []
        assert 0.3 <= time.monotonic() - started < 30


@pytest.mark.parametrize("status", [400, 404, 409, 500])
def test_other_refusals_are_final(kind, status):
    with (
        scripted(refuses(status, "x")) as server,
        client_of(kind, server.url, retries=FAST) as client,
    ):
        with pytest.raises(errors.APIError) as refused:
            client.models.list()
        assert refused.value.status == status
        assert len(server.seen) == 1


def test_a_lost_connection_is_taken_up_again_where_that_does_no_harm(kind):
    with (
        scripted(LOST, says(CHAT)) as server,
        client_of(kind, server.url, retries=FAST) as client,
    ):
        assert client.chat("hi").text == "yes"
        assert len(server.seen) == 2


def test_a_removal_is_not_repeated_once_it_was_sent(kind):
    with (
        scripted(LOST, says(REMOVED)) as server,
        client_of(kind, server.url, retries=FAST) as client,
    ):
        with pytest.raises(errors.ConnectionLost) as lost:
            client.adapters.remove("a")
        assert lost.value.__cause__ is not None
        assert len(server.seen) == 1
        assert client.adapters.remove("a").deleted


def test_an_upload_is_sent_anew_after_a_refusal(kind, tmp_path):
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"z" * 200_000)
    reported: list[tuple[int, int]] = []
    with (
        scripted(refuses(503, "adapters_busy"), refuses(400, "adapter_malformed")) as server,
        client_of(kind, server.url, retries=FAST) as client,
    ):
        with pytest.raises(errors.InvalidRequest):
            client.adapters.push("a", archive, progress=lambda *now: reported.append(now))
        bodies = [body for *_, body in server.seen]
    assert len(bodies) == 2
    totals = {total for _, total in reported}
    assert totals == {len(bodies[0])} == {len(bodies[1])}
    assert [sent for sent, _ in reported].count(0) == 2
    assert reported[-1][0] == reported[-1][1]
    assert len(reported) > 8
    assert "Transfer-Encoding" not in server.seen[0][2]


def test_a_stream_that_has_begun_is_never_repeated(kind):
    with (
        scripted(Answer(body=[EVENT], is_cut=True)) as server,
        client_of(kind, server.url, retries=FAST) as client,
    ):
        stream = client.chat("hi", stream=True)
        assert next(stream).text == "x"
        with pytest.raises(errors.ConnectionLost):
            next(stream)
        assert len(server.seen) == 1


def test_a_stream_that_was_refused_is_repeated(kind):
    done = Answer(
        headers={"X-Request-Id": "r1"}, body=[EVENT[:30], EVENT[30:], b"data: [DONE]\n\n"]
    )
    with (
        scripted(refuses(503, "adapters_busy"), done) as server,
        client_of(kind, server.url, retries=FAST) as client,
        client.chat("hi", stream=True) as stream,
    ):
        assert stream.request_id == "r1"
        assert [chunk.text for chunk in stream] == ["x"]
        assert len(server.seen) == 2


def test_a_stream_without_its_end_is_told(kind):
    with (
        scripted(Answer(body=[EVENT])) as server,
        client_of(kind, server.url) as client,
        client.chat("hi", stream=True) as stream,
    ):
        assert next(stream).text == "x"
        with pytest.raises(errors.StreamBroken):
            next(stream)


def test_an_error_ends_a_stream(kind):
    error = (
        b'data: {"error": {"message": "m", "type": "server_error", "code": "engine_failed"}}\n\n'
    )
    with (
        scripted(Answer(body=[EVENT, error])) as server,
        client_of(kind, server.url, retries=FAST) as client,
        client.complete("hi", stream=True) as stream,
        pytest.raises(errors.UnexpectedAnswer),
    ):
        next(stream)  # a chat's chunk is no completion's
    with (
        scripted(Answer(body=[error])) as server,
        client_of(kind, server.url, retries=FAST) as client,
        client.complete("hi", stream=True) as stream,
    ):
        with pytest.raises(errors.EngineUnavailable):
            next(stream)
        assert len(server.seen) == 1


def test_a_slow_answer_times_out_and_is_not_asked_for_twice(kind):
    with (
        scripted(Answer(body=[b"{}"], wait_s=2.0)) as server,
        client_of(kind, server.url, retries=FAST, timeout=30) as client,
    ):
        with pytest.raises(errors.TimedOut):
            client.chat("hi", timeout=1.0)
        assert len(server.seen) == 1


def test_no_server_is_told_as_such(kind):
    url = f"http://127.0.0.1:{free_port()}"
    with client_of(kind, url, retries=FAST) as client:
        with pytest.raises(errors.NotConnected, match=url):
            client.health()
        with pytest.raises(errors.TimedOut, match="not ready in") as late:
            client.wait_until_ready(0.2, every=0.05)
        assert isinstance(late.value.__cause__, errors.NotConnected)


def test_a_starting_server_is_waited_for(kind):
    ready = {"status": "ready", "adapters": 1, "resident": 0}
    script = (LOST, refuses(503, "not_ready", Retry_After="9"), says(ready))
    with scripted(*script) as server, client_of(kind, server.url) as client:
        assert client.wait_until_ready(20, every=0.01).adapters == 1
        assert len(server.seen) == 3


def test_a_dead_engine_is_not_waited_for(kind):
    with scripted(refuses(503, "engine_failed")) as server, client_of(kind, server.url) as client:
        with pytest.raises(errors.EngineUnavailable):
            client.wait_until_ready(20)
        assert len(server.seen) == 1


def test_another_server_is_told_by_its_answers(kind):
    html = Answer(body=[b"<html>"])
    moved = Answer(302, {"Location": "/elsewhere"})
    with scripted(html, moved) as server, client_of(kind, server.url) as client:
        with pytest.raises(errors.UnexpectedAnswer, match="no Health"):
            client.health()
        with pytest.raises(errors.UnexpectedAnswer, match="302"):
            client.health()


def test_every_request_carries_the_key(kind):
    with (
        scripted(refuses(401, "invalid_api_key")) as server,
        client_of(kind, server.url, api_key="k1") as client,
        pytest.raises(errors.Unauthorized),
    ):
        client.policies.get("auto")
    method, path, headers, _ = server.seen[0]
    assert (method, path) == ("GET", "/v1/policies/auto")
    assert headers["Authorization"] == "Bearer k1"
    assert headers["User-Agent"].startswith("loralloy-client/")


def test_a_port_that_says_nothing_does_not_hold_the_client(kind):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with client_of(kind, url, timeout=0.2) as client, pytest.raises(errors.TimedOut):
            client.ready()
