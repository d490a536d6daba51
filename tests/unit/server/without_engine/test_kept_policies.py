"""Policies outlive their server, and reach other servers on the same database."""

import pytest
from sqlalchemy import insert

from adapters.registry.storage import Locations
from router.policies.config import parse_policy
from server.errors import PolicyVersionConflict
from server.policies.registry import PolicyRegistry
from server.policies.tables import policies
from tests.support.access import database
from tests.unit.server.without_engine.conftest import FROM_FILE

BLEND = {"kind": "softmax", "temperature": 0.2, "window": "tail"}


def names(server) -> dict[str, str]:
    listed = server.http.get("/v1/policies").json()["data"]
    return {one["id"]: one["source"] for one in listed}


def test_they_are_there_after_a_restart(start, tmp_path):
    first = start()
    told = first.http.put("/v1/policies/blend", json=BLEND).json()
    first.http.put("/v1/policies/auto", json={"kind": "nearest"})
    first.http.__exit__(None, None, None)
    again = start()
    assert again.http.get("/v1/policies/blend").json() == told
    assert names(again) == {"auto": "api", "even": "file", "blend": "api"}
    assert again.parts.catalogue.router.policy("auto").kind == "nearest"
    assert "blend" in again.engine.named


def test_what_this_program_cannot_read_is_left_out_and_its_name_kept(tmp_path, caplog):
    engine = database(tmp_path)
    row = {"number": 1, "version": "0" * 12, "created": 1.0}
    with engine.begin() as connection:
        for name in ("newer", "even"):
            told = {**row, "name": name, "options": {"kind": "of-tomorrow"}}
            connection.execute(insert(policies).values(**told))
    registry = PolicyRegistry(engine, FROM_FILE)
    assert dict(registry.policies) == FROM_FILE
    assert "newer" in registry.names
    assert "the policy newer of the database is left out" in caplog.text
    registry.put("newer", parse_policy("newer", BLEND), None)
    assert PolicyRegistry(engine, {}).policies["newer"] == parse_policy("newer", BLEND)
    assert registry.remove("even", None) == FROM_FILE["even"]
    assert registry.source("even") == "file"


def test_a_policy_that_only_another_server_can_use_is_left_out(start, tmp_path, caplog):
    (tmp_path / "data").mkdir()
    registry = PolicyRegistry(database(tmp_path / "data"), {})
    static = {**BLEND, "encoder": "static"}
    for name in ("growing", "even"):
        registry.put(name, parse_policy(name, static), None)
    server = start()
    assert names(server).keys() == {"auto", "even"}
    assert server.parts.catalogue.router.policy("even") == FROM_FILE["even"]
    assert "growing of the database is left out" in caplog.text


@pytest.fixture(params=["sqlite", "postgres"])
def both(request, start, tmp_path_factory):
    """Two servers on one database."""
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").new_database()
    else:
        url = f"sqlite:///{folders[0] / 'shared.db'}"
    return [start(one, locations=Locations(one / "data", database_url=url)) for one in folders]


def look(server) -> None:
    server.http.portal.call(server.parts.policies.refresh)


def test_servers_on_one_database_take_up_each_others_changes(both):
    one, two = both
    one.http.put("/v1/policies/blend", json=BLEND)
    one.http.put("/v1/policies/even", json={"kind": "nearest"})
    assert "blend" not in names(two)
    look(two)
    assert names(two) == {"auto": "file", "even": "api", "blend": "api"}
    assert "blend" in two.engine.named
    assert two.parts.catalogue.router.policy("even").kind == "nearest"
    tag = two.http.get("/v1/policies/blend").headers["etag"]
    changed = {**BLEND, "top_k": 1}
    headers = {"If-Match": tag}
    assert two.http.put("/v1/policies/blend", json=changed, headers=headers).status_code == 200
    late = one.http.put("/v1/policies/blend", json=BLEND, headers=headers)
    assert late.status_code == 412, "the database decides, not what this server has seen"
    look(one)
    assert one.http.get("/v1/policies/blend").json()["top_k"] == 1
    one.http.delete("/v1/policies/blend")
    one.http.delete("/v1/policies/even")
    look(two)
    assert names(two) == {"auto": "file", "even": "file"}
    assert two.parts.catalogue.router.policy("even") == FROM_FILE["even"]


def test_writers_of_one_name_take_turns(both):
    """Of many changes bound to one version, one is made."""
    one, two = both
    tag = one.http.put("/v1/policies/blend", json=BLEND).headers["etag"][1:-1]
    look(two)

    async def change(server, k: int) -> bool:
        try:
            await server.parts.policies.put("blend", {**BLEND, "top_k": k}, tag)
        except PolicyVersionConflict:
            return False
        return True

    futures = [
        server.http.portal.start_task_soon(change, server, k)
        for k in range(1, 7)
        for server in (one, two)
    ]
    assert sum(future.result(60) for future in futures) == 1
    assert len(one.http.get("/v1/policies/blend/versions").json()["data"]) == 2
