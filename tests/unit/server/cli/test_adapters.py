"""``loralloy adapters`` against a server: what is sent, and what is printed of the answer."""

import json

import pytest

from tests.support.scripted_server import says, scripted
from tests.unit.server.cli.test_command import fault, loralloy

DIGEST = "0123456789abcdef" * 4
ADAPTER = {
    **{"id": "mine", "version": 2, "rank": 16, "size_bytes": 2048, "digest": DIGEST},
    "state": "serving",
    "routing": {"has_centroid": True},
}
PRINTED = f"mine: version 2, rank 16, 2 KiB, sha256 {DIGEST[:12]}, routed to\n"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"w")
    (folder / "router.json").write_text('{"description": "old", "centroids": [[1.0]], "digest": 1}')
    return folder


def test_new_content_is_sent_bound_to_what_was_seen(folder):
    with scripted(says(ADAPTER)) as server:
        done = loralloy(
            *("adapters", "replace", "mine", str(folder), "--description", "new"),
            *("--expect", DIGEST, "--url", server.url),
        )
    assert (done.returncode, done.stdout) == (0, PRINTED), done.stderr
    ((method, path, headers, body),) = server.seen
    assert (method, path, headers["If-Match"]) == ("PUT", "/v1/adapters/mine", f'"{DIGEST}"')
    assert b"new" in body
    assert b"old" not in body
    assert b'name="name"' not in body


def test_a_piped_list_cuts_nothing_short():
    name, description = "n" * 64, " ".join(["a long description"] * 10)
    adapter = ADAPTER | {"id": name, "resident": True}
    adapter["routing"] = {"has_centroid": True, "description": description}
    with scripted(says({"data": [adapter]})) as server:
        done = loralloy("adapters", "list", "--url", server.url)
    assert done.stdout.splitlines()[1].split() == [
        *(name, "serving", "16", "2", "KiB", "yes", "yes"),
        *description.split(),
    ]


def test_versions_are_listed_and_gone_back_to():
    versions = [
        {"number": 2, "digest": DIGEST, "created": 0},
        {"number": 1, "digest": "f" * 64, "created": 0},
    ]
    with scripted(says({"data": versions}), says(ADAPTER)) as server:
        table = loralloy("adapters", "versions", "mine", "--url", server.url).stdout
        done = loralloy("adapters", "restore", "mine", "ffffffff", "--url", server.url)
    assert [row.split() for row in table.splitlines()[1:]] == [
        ["2", "1970-01-01", "00:00", DIGEST],
        ["1", "1970-01-01", "00:00", "f" * 64],
    ]
    assert done.stdout == PRINTED
    listed, restored = server.seen
    assert listed[:2] == ("GET", "/v1/adapters/mine/versions")
    assert restored[:2] == ("POST", "/v1/adapters/mine/restore")
    assert json.loads(restored[3]) == {"digest": "ffffffff"}


def test_routing_data_are_sent_alone(folder, tmp_path):
    examples = tmp_path / "examples.txt"
    examples.write_text("one\ntwo\n")
    with scripted(says(ADAPTER)) as server:
        base = ("adapters", "describe", "mine", "--url", server.url)
        loralloy(*base, "--examples", str(examples), "--description", "")
        done = loralloy(*base, "--router", str(folder / "router.json"), "--description", "new")
        nothing = fault(*base)
    assert done.stdout == PRINTED
    assert "--examples" in nothing
    first, second = server.seen
    assert first[:2] == ("PATCH", "/v1/adapters/mine")
    assert json.loads(first[3]) == {"examples": "one\ntwo\n", "description": ""}
    assert json.loads(second[3]) == {"description": "new", "centroids": [[1.0]]}
