"""A full disk ends an import as it ends an upload, wherever the adapter comes from."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.errors import StorageFull
from server.sources.fetch import Fetcher
from tests.support.full_disk import fill_disk
from tests.unit.server.sources.conftest import COMMIT, PAIR, TAR, ZIP
from tests.unit.server.sources.test_jobs import ended

Sources = Callable[[str], tuple[Fetcher, str]]
FILES = {"folder": 2, "zip": 3, "tar.gz": 3, "https": 3, "hub": 2, "s3": 2, "s3 archive": 3}
"""Kind of source → how many files are written while it is fetched."""

CASES = [(kind, written) for kind, files in FILES.items() for written in range(files)]


@pytest.fixture
def source(tmp_path, fetcher, web, request) -> Sources:
    """A fetcher, and the address of an adapter that it may fetch."""

    def of_this_machine(name: str) -> tuple[Fetcher, str]:
        root = tmp_path / "root"
        (root / "a").mkdir(parents=True)
        for file, content in PAIR:
            (root / "a" / file).write_bytes(content)
        (root / "a.zip").write_bytes(ZIP)
        (root / "a.tar.gz").write_bytes(TAR)
        return fetcher(file=root), f"file://{root}/{name}"

    def of_the_web() -> tuple[Fetcher, str]:
        web.gives("/a.zip", ZIP)
        return fetcher(), web.url("/a.zip")

    def of_a_hub() -> tuple[Fetcher, str]:
        for file, content in PAIR:
            web.gives(f"/org/repo/resolve/{COMMIT}/{file}", content)
        endpoint = f"https://hub.test:{web.port}"
        return fetcher(hf=("org/*",), hf_endpoint=endpoint), f"hf://org/repo@{COMMIT}"

    def of_s3(key: str) -> tuple[Fetcher, str]:
        s3 = request.getfixturevalue("s3")
        bucket, files = s3.new_bucket(), s3.files()
        for file, content in PAIR:
            files.pipe_file(f"{bucket}/a/{file}", content)
        files.pipe_file(f"{bucket}/a.zip", ZIP)
        return fetcher(s3=(bucket,), s3_options=dict(s3.options)), f"s3://{bucket}/{key}"

    kinds: dict[str, Callable[[], tuple[Fetcher, str]]] = {
        "folder": lambda: of_this_machine("a"),
        "zip": lambda: of_this_machine("a.zip"),
        "tar.gz": lambda: of_this_machine("a.tar.gz"),
        "https": of_the_web,
        "hub": of_a_hub,
        "s3": lambda: of_s3("a"),
        "s3 archive": lambda: of_s3("a.zip"),
    }
    return lambda kind: kinds[kind]()


@pytest.mark.parametrize(("kind", "written"), CASES)
def test_no_room_is_told_as_that_at_every_file(
    kind: str, written: int, source: Sources, fetched, tmp_path: Path, monkeypatch
) -> None:
    made, address = source(kind)
    assert fetched(made, address) == dict(PAIR)
    fill_disk(monkeypatch, tmp_path, room_for=written)
    with pytest.raises(StorageFull, match="the server's disk is full"):
        fetched(made, address)


def test_a_job_ends_with_that_error(served, web, archive, monkeypatch) -> None:
    web.gives("/a.zip", archive)
    made = served()

    async def run() -> dict:
        async with made.running() as http:
            fill_disk(monkeypatch, made.staging)
            body = {"name": "maths", "source": web.url("/a.zip")}
            return await ended(http, (await http.post("/v1/imports", json=body)).json())

    job = asyncio.run(run())
    assert (job["state"], job["error"]["code"]) == ("failed", "storage_full")
    assert "maths" not in made.catalogue.names.adapters
