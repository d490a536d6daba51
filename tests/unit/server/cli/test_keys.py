"""``loralloy keys``, as a user runs it, and what a server makes of its keys before it starts."""

import json
import time

import pytest

from server.access.keys import PREFIX, AdapterRule, Quota
from server.access.rows import KeyRows
from tests.support.access import database, keys_command
from tests.unit.server.cli.test_command import fault, loralloy


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def test_a_key_is_printed_once_and_kept_with_what_it_may_do(data):
    options = (
        *("--adapter", "maths", "--adapter", "team-*", "--note", "for Ann", "--expires", "12h"),
        *("--requests-per-minute", "60", "--max-concurrent", "4"),
    )
    done = loralloy("keys", "create", *options, "--data-dir", str(data))
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    assert key.startswith(PREFIX)
    assert key not in done.stderr
    stored = KeyRows(database(data)).stored()
    (kept,) = stored.by_digest.values()
    assert kept.id in done.stderr
    assert (kept.role, kept.adapters) == ("user", AdapterRule(("maths", "team-*")))
    assert (kept.note, kept.quota) == ("for Ann", Quota(60, 4))
    assert 11.9 * 3600 < kept.expires - time.time() <= 12 * 3600
    listed = keys_command(data, "list")
    assert kept.id in listed
    assert key not in listed


def test_keys_are_listed_until_they_are_revoked(data):
    assert "no keys" in keys_command(data, "list")
    keys_command(data, "create", "--role", "admin")
    (row,) = keys_command(data, "list").splitlines()[1:]
    key_id = row.split()[0]
    assert "admin" in row
    assert keys_command(data, "revoke", key_id) == f"{key_id}: revoked"
    assert key_id not in keys_command(data, "list")
    assert key_id in keys_command(data, "list", "--revoked")
    assert "to revoke" in fault("keys", "revoke", key_id, "--data-dir", str(data))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--role", "root"), "unknown role 'root'"),
        (("--adapter", "A/b"), "'A/b' cannot be an adapter's name"),
        (("--role", "admin", "--adapter", "maths"), "cannot be limited"),
        (("--expires", "soon"), "'soon' is not a time"),
        (("--expires", "999999w"), "is not a time"),
        (("--expires", "2020-01-01"), "is in the past"),
        (("--note", "a\nb"), "one line"),
    ],
)
def test_a_slip_takes_one_line_and_makes_no_key(data, arguments, message):
    assert message in fault("keys", "create", *arguments, "--data-dir", str(data))
    assert "no keys" in keys_command(data, "list")


def test_a_data_folder_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    assert "cannot be used" in fault("keys", "list", "--data-dir", str(tmp_path / "file" / "x"))
    (tmp_path / "registry.db").write_bytes(b"no database" * 1000)
    assert "could not open the database" in fault("keys", "list", "--data-dir", str(tmp_path))


def test_the_data_folder_may_come_from_the_environment_and_the_config_file(tmp_path):
    config = tmp_path / "server.yaml"
    config.write_text(f"data_dir: {tmp_path / 'one'}\n")
    assert loralloy("keys", "create", "--config", str(config)).returncode == 0
    two = str(tmp_path / "two")
    assert loralloy("keys", "create", LORALLOY_DATA_DIR=two).returncode == 0
    for name in ("one", "two"):
        assert len(KeyRows(database(tmp_path / name)).all()) == 1


def test_beyond_this_machine_a_server_needs_a_key_of_either_kind_that_is_taken(data):
    serve = ("serve", "--host", "0.0.0.0", "--print-config", "--data-dir", str(data))
    assert "without an API key" in fault(*serve)
    assert not data.exists(), "nothing is made by asking"
    loralloy("keys", "create", "--data-dir", str(data))
    done = loralloy(*serve)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["host"] == "0.0.0.0"
    ledger = KeyRows(database(data))
    (kept,) = ledger.all()
    ledger.revoke(kept.id, "cli")
    assert "without an API key" in fault(*serve)
    assert loralloy(*serve, "--api-key", "one").returncode == 0
