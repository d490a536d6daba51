"""Names in a real PostgreSQL, contents in a real S3: kept by servers that share nothing else."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import running_server
from tests.support.postgres import PASSWORD, Postgres
from tests.support.running_server import RunningServer, push
from tests.support.s3_server import SECRET, S3Server
from tests.support.tiny_llama import BASE_NAME

ARGUMENTS = ("--dtype", "float32", "--max-loras", "2", "--max-model-len", "256", "--eager")
WAIT_S = 60


@pytest.fixture(scope="module")
def environment(postgres: Postgres, s3: S3Server) -> dict[str, str]:
    return {
        "LORALLOY_DATABASE_URL": postgres.new_database(),
        "LORALLOY_STORE_URL": f"s3://{s3.new_bucket()}/adapters",
        "LORALLOY_STORAGE__SYNC_S": "0.2",
        **s3.environment,
    }


@pytest.fixture(scope="module")
def start(tiny_base: Path, encoder_path: Path, environment: dict[str, str]) -> Iterator[object]:
    running: list[RunningServer] = []

    def make(folder: Path) -> RunningServer:
        running.append(
            running_server.start(
                folder, tiny_base, BASE_NAME, arguments=ARGUMENTS, environment=environment
            )
        )
        return running[-1]

    yield make
    for server in running:
        running_server.stop(server)


def says(server: RunningServer, model: str) -> str:
    body = {"model": model, "prompt": "one two three", "max_tokens": 12, "temperature": 0}
    with server.client() as client:
        answer = client.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["text"]


def names(server: RunningServer) -> dict[str, str]:
    with server.client() as client:
        listed = client.get("/v1/adapters").json()["data"]
    return {one["id"]: one["digest"] for one in listed}


def becomes(server: RunningServer, expected: dict[str, str]) -> None:
    """Wait for another server's change to arrive."""
    deadline = time.monotonic() + WAIT_S
    while names(server) != expected:
        assert time.monotonic() < deadline, f"{names(server)} and not {expected}"
        time.sleep(0.1)


def test_an_upload_outlives_its_server_and_reaches_the_next(
    start, tiny_adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("first")
    first = start(folder)
    pushed = push(first, "sums", tiny_adapters["r8-a"], description="sums")
    assert pushed.status_code == 201, pushed.text
    push(first, "other", tiny_adapters["r16"]).raise_for_status()
    push(first, "third", tiny_adapters["r8-b"]).raise_for_status()
    told, base = says(first, "sums"), says(first, BASE_NAME)
    assert told != base
    before = names(first)
    running_server.stop(first)
    assert first.process.returncode == 0, first.log.read_text()[-2000:]

    assert len(list((folder / "data" / "cache").iterdir())) == 3
    assert not (folder / "data" / "blobs").exists()
    shutil.rmtree(folder / "data")
    again = start(folder)
    assert names(again) == before
    assert {says(again, "sums") for _ in range(2)} == {told}
    assert says(again, "third") != base, "more adapters than slots: fetched when it is asked for"

    with again.client() as client:
        mixed = {"adapters": {"sums": 0.5, "third": 0.5}, "combination": "linear"}
        body = {"prompt": "one", "max_tokens": 2, "mixture": mixed}
        answer = client.post("/v1/completions", json=body)
        assert answer.status_code == 200, answer.text

    other = start(tmp_path_factory.mktemp("second"))
    assert names(other) == before
    with other.client() as client:
        client.delete("/v1/adapters/other").raise_for_status()
    push(other, "fourth", tiny_adapters["r8-a"]).raise_for_status()
    after = names(other)
    assert after.keys() == {"sums", "third", "fourth"}
    becomes(again, after)
    assert says(again, "fourth") == told
    with again.client() as client:
        gone = client.post("/v1/completions", json={"model": "other", "prompt": "one"})
    assert gone.status_code == 404
    for server in (first, again, other):
        log = server.log.read_text()
        assert PASSWORD not in log
        assert SECRET not in log
        assert "Traceback" not in log
