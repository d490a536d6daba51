"""Jobs in both clients and on the command line: what is sent, and what each end stands for."""

import json

import pytest

from loralloy_client.errors import (
    InvalidSource,
    JobCancelled,
    SourceNotAllowed,
    SourceUnavailable,
    TimedOut,
)
from tests.support.both_clients import KINDS, client_of
from tests.support.cli import loralloy
from tests.support.scripted_server import refuses, says, scripted

ADAPTER = {
    **{"id": "sums", "object": "adapter", "digest": "d" * 64, "version": 2, "created": 1},
    **{"base_model": None, "parent": "base", "rank": 8, "ranks": [8], "lora_alpha": 16.0},
    **{"target_modules": ["q_proj"], "size_bytes": 10, "parameters": 5, "resident": True},
    "leases": 0,
    "routing": {
        **{"description": None, "examples": 0, "first_examples": [], "has_centroid": False},
        **{"centroids": 0, "encoder": None},
    },
}


def job(state: str, **changes: object) -> dict[str, object]:
    fields = {
        **{"id": "job-1", "object": "job", "kind": "import", "name": "sums", "source": "s3://b/a"},
        **{"state": state, "step": "fetching", "created": 1.0, "started": None, "ended": None},
        **{"bytes_done": 0, "bytes_total": None, "adapter": None, "error": None},
    }
    return {**fields, **changes}


def failed(code: str) -> dict[str, object]:
    error = {"message": "no", "type": "server_error", "param": "source", "code": code}
    return job("failed", error=error)


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


def test_an_import_sends_what_was_said_and_nothing_else(kind):
    with scripted(says(job("queued"), 202)) as server, client_of(kind, server.url) as client:
        begun = client.jobs.import_adapter("sums", "s3://b/a", replace=True, examples=["2 + 2"])
        client.jobs.import_adapter("sums", "s3://b/a", description=None)
    assert (begun.id, begun.state, begun.is_ended) == ("job-1", "queued", False)
    sent = [json.loads(body) for *_, body in server.seen]
    base = {"name": "sums", "source": "s3://b/a"}
    assert sent == [{**base, "replace": True, "examples": ["2 + 2"]}, base]
    assert server.seen[0][:2] == ("POST", "/v1/imports")


def test_waiting_tells_how_far_it_is_and_gives_the_adapter(kind):
    answers = [
        says(job("queued")),
        says(job("running", bytes_done=5, bytes_total=10)),
        says(job("done", bytes_done=10, bytes_total=10, adapter=ADAPTER)),
    ]
    reported: list[tuple[int, int]] = []
    with scripted(*answers) as server, client_of(kind, server.url) as client:
        adapter = client.jobs.wait("job-1", every=0.01, progress=lambda *far: reported.append(far))
    assert (adapter.id, adapter.rank) == ("sums", 8)
    assert reported == [(0, 0), (5, 10), (10, 10)]


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (failed("source_unavailable"), SourceUnavailable),
        (failed("source_not_allowed"), SourceNotAllowed),
        (job("cancelled"), JobCancelled),
    ],
)
def test_an_end_without_an_adapter_is_its_error(kind, end, error):
    with (
        scripted(says(end)) as server,
        client_of(kind, server.url) as client,
        pytest.raises(error) as caught,
    ):
        client.jobs.wait("job-1")
    assert caught.value.code == error.code


def test_whoever_does_not_want_to_wait_longer_is_told(kind):
    with (
        scripted(says(job("running"))) as server,
        client_of(kind, server.url) as client,
        pytest.raises(TimedOut, match="running"),
    ):
        client.jobs.wait("job-1", 0.05, every=0.01)


def test_jobs_are_listed_and_cancelled(kind):
    listed = {"object": "list", "data": [job("running")]}
    answers = (says(listed), says(job("cancelled")))
    with scripted(*answers) as server, client_of(kind, server.url) as client:
        assert [one.id for one in client.jobs.list()] == ["job-1"]
        assert client.jobs.cancel("job-1").state == "cancelled"
    assert [one[:2] for one in server.seen] == [("GET", "/v1/jobs"), ("DELETE", "/v1/jobs/job-1")]


def test_a_refusal_has_its_class(kind, tmp_path):
    with scripted(refuses(400, "source_invalid")) as server, client_of(kind, server.url) as client:
        with pytest.raises(InvalidSource):
            client.jobs.import_adapter("sums", "hf://a/b@main")
        with pytest.raises(ValueError, match="as texts"):
            client.jobs.import_adapter("sums", "s3://b/a", examples=tmp_path)
        with pytest.raises(TypeError, match="no option"):
            client.jobs.import_adapter("sums", "s3://b/a", exmaples=[])


def test_the_command_begins_a_job_or_waits_for_its_end():
    answers = [says(job("queued"), 202), says(job("done", bytes_done=9, adapter=ADAPTER))]
    command = ("adapters", "import", "sums", "s3://b/a", "--description", "adds")
    with scripted(*answers) as server:
        begun = loralloy(*command, "--url", server.url)
    assert begun.returncode == 0, begun.stderr
    assert "job-1 has begun" in begun.stdout
    (_, path, _, body) = server.seen[0]
    assert path == "/v1/imports"
    assert json.loads(body) == {
        **{"name": "sums", "source": "s3://b/a", "replace": False},
        "description": "adds",
    }
    with scripted(*answers) as server:
        waited = loralloy(*command, "--wait", "--url", server.url)
    assert waited.returncode == 0, waited.stderr
    assert waited.stdout == f"sums: rank 8, version 2, sha256 {'d' * 12}\n"


@pytest.mark.parametrize(
    ("end", "message"),
    [(failed("source_not_found"), "source_not_found"), (job("cancelled"), "job_cancelled")],
)
def test_the_command_tells_a_failure_in_one_line(end, message):
    with scripted(says(job("queued"), 202), says(end)) as server:
        done = loralloy("adapters", "import", "sums", "s3://b/a", "--wait", "--url", server.url)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: sums: ")
    assert message in done.stderr
