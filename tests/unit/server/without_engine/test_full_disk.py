"""A full disk is told as that, whichever way an adapter comes, and nothing stays of it."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.pool import Pool

from tests.support.archives import tar_gz_of, zip_of
from tests.support.bare_server import BareServer, files_of
from tests.support.full_disk import fill_disk, fill_temporary_disk

FORMS = ("files", "zip", "tar.gz")
STEPS = ("its config", "its weights", "the stored config", "the stored weights")


def form_of(form: str, folder: Path) -> dict[str, tuple[str, bytes]]:
    """The files of an upload."""
    files = files_of(folder)
    members = [files["config"], files["file"]]
    return {
        "files": files,
        "zip": {"archive": ("a.zip", zip_of(members))},
        "tar.gz": {"archive": ("a.tar.gz", tar_gz_of(members))},
    }[form]


def staged(server: BareServer) -> list[Path]:
    """What is left in the staging folder."""
    return list((server.parts.settings.data_dir / "staging").iterdir())


def check_full(answer) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "storage_full"), (
        answer.text
    )
    assert answer.json()["error"]["type"] == "server_error"
    assert "the server's disk is full" in answer.json()["error"]["message"]
    assert "/" not in answer.json()["error"]["message"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_no_room_is_507_at_every_step_of_every_form(
    server: BareServer, tiny_adapters, form: str, step: str, method: str
) -> None:
    kept = server.push("kept", tiny_adapters["r16"])
    path, data = (
        ("/v1/adapters", {"name": "new"}) if method == "POST" else ("/v1/adapters/kept", {})
    )
    files = form_of(form, tiny_adapters["r8-a"])
    with pytest.MonkeyPatch.context() as patched:
        fill_disk(patched, server.parts.settings.data_dir, room_for=STEPS.index(step))
        check_full(server.http.request(method, path, data=data, files=files))
    assert staged(server) == []
    listed = server.http.get("/v1/adapters").json()["data"]
    assert [(one["id"], one["digest"]) for one in listed] == [("kept", kept["digest"])]
    assert server.http.request(method, path, data=data, files=files).status_code < 300


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_cannot_even_be_received_is_507(
    server: BareServer, tiny_adapters, form: str
) -> None:
    files = form_of(form, tiny_adapters["r8-a"])
    large = {field: (name, content + bytes(2**21)) for field, (name, content) in files.items()}
    with pytest.MonkeyPatch.context() as patched:
        fill_temporary_disk(patched)
        check_full(server.http.post("/v1/adapters", data={"name": "new"}, files=large))


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_a_damaged_archive_stays_the_uploads_fault(
    server: BareServer, tiny_adapters, form: str, cut: float
) -> None:
    ((field, (name, content)),) = form_of(form, tiny_adapters["r8-a"]).items()
    broken = {field: (name, content[: int(len(content) * cut)])}
    answer = server.http.post("/v1/adapters", data={"name": "new"}, files=broken)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "adapter_malformed")


def test_a_full_database_is_507(server: BareServer, tiny_adapters) -> None:
    """SQLite's own refusal: it may have no more pages than it has."""
    rows = server.parts.catalogue.registry._rows
    pool: Pool = rows._engine.pool
    files = form_of("files", tiny_adapters["r8-a"])
    connection = pool.connect()
    driver = connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    (pages,) = driver.execute("PRAGMA page_count").fetchone()
    driver.execute(f"PRAGMA max_page_count = {pages}")
    connection.close()
    data = {"name": "new", "description": "sums and more sums " * 800}
    check_full(server.http.post("/v1/adapters", data=data, files=files))
    assert server.http.get("/v1/adapters").json()["data"] == []
