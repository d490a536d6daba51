"""Imports over HTTP, without an engine: jobs from their beginning to their being forgotten.

The registry, the store, the router's data and the guard are real; only the engine's slots are not
there, since nothing is generated.
"""

import asyncio
import json

import httpx
import pytest

from tests.support.archives import zip_of
from tests.unit.server.sources.conftest import CONFIG, WEIGHTS
from tests.unit.server.sources.serving import make_catalogue

ENDED = {"done", "failed", "cancelled"}


async def ended(http: httpx.AsyncClient, job: dict) -> dict:
    while True:
        now = (await http.get(f"/v1/jobs/{job['id']}")).json()
        if now["state"] in ENDED:
            return now
        await asyncio.sleep(0.02)


def test_an_import_is_a_job_that_ends_with_the_adapter(served, web, archive):
    web.gives("/a.zip", archive)
    made = served()

    async def run() -> None:
        async with made.running() as http:
            body = {"name": "maths", "source": web.url("/a.zip?sig=secret"), "description": "sums"}
            begun = await http.post("/v1/imports", json=body)
            assert begun.status_code == 202, begun.text
            job = begun.json()
            assert begun.headers["Location"] == f"/v1/jobs/{job['id']}"
            assert job["source"] == web.url("/a.zip?…")
            done = await ended(http, job)
            assert (done["state"], done["step"], done["error"]) == ("done", "ended", None)
            assert done["bytes_done"] == done["bytes_total"] == len(archive)
            assert done["adapter"]["id"] == "maths"
            assert done["adapter"]["routing"]["description"] == "sums"
            assert "maths" in made.catalogue.names.adapters
            again = await ended(http, (await http.post("/v1/imports", json=body)).json())
            assert (again["state"], again["adapter"]["version"]) == ("done", 1)
            listed = (await http.get("/v1/jobs")).json()["data"]
            assert [one["id"] for one in listed] == [again["id"], done["id"]]

    asyncio.run(run())
    assert made.audited() == 2 * [
        ("import.start", "maths", "done"),
        ("adapter.import", "maths", "done"),
    ]
    told = json.dumps([one.as_json() for one in made.audit.page(10)])
    assert "secret" not in told


def test_a_taken_name_needs_to_be_replaced(served, web, archive, other_folder):
    other = zip_of([(name, (other_folder / name).read_bytes()) for name in (CONFIG, WEIGHTS)])
    web.gives("/a.zip", archive)
    web.gives("/b.zip", other)

    async def run() -> None:
        async with served().running() as http:

            async def bring(path: str, **more) -> dict:
                body = {"name": "x", "source": web.url(path), **more}
                return await ended(http, (await http.post("/v1/imports", json=body)).json())

            assert (await bring("/a.zip"))["state"] == "done"
            refused = await bring("/b.zip")
            assert (refused["state"], refused["error"]["code"]) == ("failed", "adapter_exists")
            assert (await bring("/b.zip", replace=True))["adapter"]["version"] == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "source_not_found"),
        (b"none", "adapter_malformed"),
        (zip_of([(CONFIG, b"[]"), (WEIGHTS, b"\x80\x02evil")]), "adapter_malformed"),
    ],
)
def test_a_job_that_fails_says_why_and_leaves_nothing(served, web, content, code):
    if content is not None:
        web.gives("/a.zip", content)
    made = served()

    async def run() -> None:
        async with made.running() as http:
            body = {"name": "x", "source": web.url("/a.zip")}
            job = await ended(http, (await http.post("/v1/imports", json=body)).json())
            assert (job["state"], job["adapter"]) == ("failed", None)
            assert job["error"]["code"] == code
            assert list(made.staging.iterdir()) == []

    asyncio.run(run())
    assert made.audited()[-1] == ("adapter.import", "x", code)
    assert made.catalogue.registry.all() == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "x", "source": "https://elsewhere.test/a.zip"}, 403, "source_not_allowed"),
        ({"name": "x", "source": "file:///etc"}, 403, "source_not_allowed"),
        ({"name": "x", "source": "hf://org/repo@main"}, 400, "source_invalid"),
        ({"name": "x", "source": "http://adapters.test/a.zip"}, 400, "source_invalid"),
        ({"name": "../x", "source": "s3://bucket/a"}, 400, "adapter_name_invalid"),
        ({"name": "x"}, 400, "invalid_request"),
        ({"name": "x", "source": "s3://b/a", "trust_remote_code": True}, 400, "invalid_request"),
        ({"name": "x", "source": "SOURCE", "centroids": [[]]}, 400, "adapter_routing_invalid"),
        ({"name": "x", "source": "SOURCE", "description": " x" * 2**21}, 400, "invalid_request"),
    ],
)
def test_what_cannot_begin_is_refused_at_once(served, web, body, status, code):
    body = {**body, **({"source": web.url("/a.zip")} if body.get("source") == "SOURCE" else {})}

    async def run() -> None:
        async with served().running() as http:
            refused = await http.post("/v1/imports", json=body)
            error = refused.json()["error"]
            assert (refused.status_code, error["code"]) == (status, code), error
            assert (await http.get("/v1/jobs")).json()["data"] == []

    asyncio.run(run())
    assert web.asked == []


def test_jobs_wait_their_turn_are_cancelled_and_are_bounded(served, web):
    began = web.drips("/a.zip", 600)
    made = served(max_running=1, max_jobs=2, max_wait_s=600, max_fetch_s=600)

    async def run() -> None:
        async with made.running() as http:

            async def begin() -> httpx.Response:
                return await http.post(
                    "/v1/imports", json={"name": "x", "source": web.url("/a.zip")}
                )

            first, second = (await begin()).json(), (await begin()).json()
            assert await asyncio.to_thread(began.wait, 30)
            third = await begin()
            assert (third.status_code, third.json()["error"]["code"]) == (503, "too_many_jobs")
            assert int(third.headers["Retry-After"]) > 0
            states = [job["state"] for job in (await http.get("/v1/jobs")).json()["data"]]
            assert states == ["queued", "running"]
            for job in (second, first):
                gone = (await http.delete(f"/v1/jobs/{job['id']}")).json()
                assert (gone["state"], gone["error"], gone["adapter"]) == ("cancelled", None, None)
            assert list(made.staging.iterdir()) == []
            again = (await http.delete(f"/v1/jobs/{first['id']}")).json()
            assert again["state"] == "cancelled"
            assert (await begin()).status_code == 202  # the oldest that has ended made room
            missing = await http.get(f"/v1/jobs/{first['id']}")
            assert (missing.status_code, missing.json()["error"]["code"]) == (404, "job_not_found")

    asyncio.run(run())
    assert ("import.cancel", "x", "done") in made.audited()
    assert ("adapter.import", "x", "job_cancelled") in made.audited()


def test_an_end_of_the_server_ends_its_jobs(served, web):
    began = web.drips("/a.zip", 600)
    made = served(max_wait_s=600, max_fetch_s=600)

    async def run() -> None:
        async with made.running() as http:
            await http.post("/v1/imports", json={"name": "x", "source": web.url("/a.zip")})
            assert await asyncio.to_thread(began.wait, 30)
        assert [job.state for job in made.parts.imports.jobs.all()] == ["cancelled"]
        assert list(made.staging.iterdir()) == []

    asyncio.run(run())


def test_a_start_throws_away_what_a_killed_one_was_fetching(tmp_path, base, encoder):
    left = tmp_path / "data" / "staging" / "abc" / "adapter"
    left.mkdir(parents=True)
    (left / "archive").write_bytes(b"half")
    make_catalogue(tmp_path / "data", base, encoder).registry.close()
    assert list((tmp_path / "data" / "staging").iterdir()) == []


def test_an_ended_job_is_forgotten_after_its_time(served, web):
    async def run() -> None:
        async with served(keep_s=0.01).running() as http:
            job = (
                await http.post("/v1/imports", json={"name": "x", "source": web.url("/a.zip")})
            ).json()
            async with asyncio.timeout(30):
                while (await http.get(f"/v1/jobs/{job['id']}")).status_code != 404:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

    asyncio.run(run())
