"""Keys, what they see, and what is kept of them."""

import hashlib
import json
import logging
import re
import sqlite3
import time
from dataclasses import replace

import pytest

from adapters.errors import StorageFailed
from server.access.audit import AuditLog
from server.access.authentication import STALE_S, Callers
from server.access.key_refresh import EVERY_S, KeyRefresh
from server.access.keys import (
    PREFIX,
    AdapterRule,
    ApiKey,
    Quota,
    digest_of,
    is_pattern,
    new_id,
    new_key,
)
from server.access.rows import KeyRows
from server.errors import NotReady, Unauthorized
from tests.support.access import callers_of, database, made


@pytest.fixture
def rows(tmp_path) -> KeyRows:
    return KeyRows(database(tmp_path))


def bearer(key: str) -> str:
    return f"Bearer {key}"


def test_keys_are_long_random_words_with_a_prefix():
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith(PREFIX) and len(key) == len(PREFIX) + 43 for key in keys)
    assert all(key.isascii() and not any(c.isspace() for c in key) for key in keys)
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("key-[0-9a-f]{12}", one) for one in ids)


def test_a_digest_is_the_sha_256_of_any_text():
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_of("abc") == abc
    assert digest_of("ü") == hashlib.sha256(b"\xc3\xbc").hexdigest()
    assert (
        digest_of("half a pair: \ud800") == hashlib.sha256(b"half a pair: \xed\xa0\x80").hexdigest()
    )


@pytest.mark.parametrize(
    ("patterns", "seen", "hidden"),
    [
        (None, ["maths", "x\ny"], []),
        ((), [], ["maths", ""]),
        (("maths",), ["maths"], ["maths2", "mat", "MATHS", "maths\n", ""]),
        (("team-*", "code"), ["team-", "team-a", "code"], ["team", "a-team-a", "codes"]),
        (("*-v1.0",), ["maths-v1.0"], ["maths-v1x0"]),
        (("*",), ["maths"], []),
    ],
)
def test_a_rule_allows_names_and_patterns(patterns, seen, hidden):
    rule = AdapterRule(patterns)
    assert [rule.allows(name) for name in seen] == [True] * len(seen)
    assert [rule.allows(name) for name in hidden] == [False] * len(hidden)


def test_patterns_have_the_characters_of_names():
    assert all(is_pattern(text) for text in ("maths", "*", "team-*", "a.b_c"))
    assert not any(is_pattern(text) for text in ("", "A", "a?", "[ab]", "a/b", "a b", "x" * 65))


def test_a_quota_says_what_the_default_leaves_open():
    default = Quota(60, 4)
    assert Quota().over(default) == default
    assert Quota(5).over(default) == Quota(5, 4)
    assert Quota(None, 1).over(Quota()) == Quota(None, 1)


def test_the_database_keeps_no_key(rows, tmp_path):
    key, kept = made(rows, "user", "team-*", note="for tests", quota=Quota(6, 2))
    (again,) = rows.all()
    assert again == kept
    raw = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert digest_of(key).encode() in raw
    assert key.encode() not in raw
    assert key.removeprefix(PREFIX).encode() not in raw


def test_all_that_is_known_of_keys_comes_back_the_oldest_first(rows):
    facts = {"note": "for tests", "expires": 99.5, "quota": Quota(6, 2)}
    _, second = made(rows, "metrics", created=2.0, **facts)
    _, first = made(rows, "admin", "a-*", "b", created=1.0)
    rows.used({second.id: 7.5})
    assert rows.all() == [first, replace(second, last_used=7.5)]
    before = time.time()
    rows.revoke(first.id, "cli")
    revoked, other = rows.all()
    assert before <= revoked.revoked <= time.time()
    assert (replace(revoked, revoked=None), other.revoked) == (first, None)


def test_keys_of_one_moment_come_in_order_of_their_ids(rows):
    ids = [made(rows)[1].id for _ in range(8)]
    assert [key.id for key in rows.all()] == sorted(ids)


def test_what_a_server_needs_are_the_digests_of_keys_that_are_not_revoked(rows):
    assert (rows.stored().total, rows.stored().by_digest, rows.mark()) == (0, {}, (0, 0))
    one, kept = made(rows)
    _, gone = made(rows, "admin")
    assert rows.mark() == (2, 0)
    rows.revoke(gone.id, "cli")
    stored = rows.stored()
    assert (stored.by_digest, stored.total, rows.mark()) == ({digest_of(one): kept}, 2, (2, 1))


FACTS = ApiKey("key-1", "user", 1.0)


@pytest.mark.parametrize(
    ("work", "doing"),
    [
        (lambda rows: rows.add("lla_x", FACTS, "cli"), "keep an API key"),
        (lambda rows: rows.revoke("key-1", "cli"), "revoke an API key"),
        (lambda rows: rows.all(), "read the API keys"),
        (lambda rows: rows.stored(), "read the API keys"),
        (lambda rows: rows.mark(), "read the API keys"),
        (lambda rows: rows.used({"key-1": 1.0}), "note when API keys were used"),
    ],
)
def test_a_database_that_refuses_is_told_with_what_was_wanted_of_it(rows, tmp_path, work, doing):
    with sqlite3.connect(tmp_path / "registry.db") as broken:
        broken.execute("DROP TABLE api_keys")
    with pytest.raises(StorageFailed, match=f"^could not {doing}: no such table: api_keys$"):
        work(rows)


def test_a_key_is_taken_until_it_is_revoked(rows):
    callers = callers_of()
    refresh = KeyRefresh(rows, callers)
    assert callers.identify(None).role == "admin", "without any key this machine does everything"
    key, kept = made(rows, "user", "team-*")
    refresh.look()
    caller = callers.identify(bearer(key))
    assert (caller.id, caller.role, caller.visible) == (kept.id, "user", AdapterRule(("team-*",)))
    assert rows.revoke(kept.id, "cli")
    refresh.look()
    with pytest.raises(Unauthorized):
        callers.identify(bearer(key))
    assert not rows.revoke(kept.id, "cli"), "it is revoked already"
    assert not rows.revoke("key-none", "cli")


def test_the_last_keys_end_does_not_open_the_door(rows):
    _, kept = made(rows)
    rows.revoke(kept.id, "cli")
    callers = callers_of()
    KeyRefresh(rows, callers)
    for header in (None, "Bearer x"):
        with pytest.raises(Unauthorized):
            callers.identify(header)


def test_beyond_this_machine_nobody_comes_in_without_a_key():
    with pytest.raises(Unauthorized):
        callers_of(only_local=False).identify(None)


def test_an_expired_key_is_not_taken(rows):
    late, _ = made(rows, expires=time.time() - 1)
    soon, _ = made(rows, expires=time.time() + 60)
    callers = callers_of()
    KeyRefresh(rows, callers)
    assert callers.identify(bearer(soon))
    with pytest.raises(Unauthorized, match="expired"):
        callers.identify(bearer(late))


def test_keys_of_the_settings_stay_admins_beside_those_of_the_database(rows):
    key, _ = made(rows, "user")
    callers = callers_of("one", "two", quota=Quota(60))
    KeyRefresh(rows, callers)
    one, two = (callers.identify(bearer(key)) for key in ("one", "two"))
    assert (one.role, two.role) == ("admin", "admin")
    assert len({one.id, two.id, callers.identify(bearer(key)).id}) == 3, "three tenants"
    assert one.quota == callers.identify(bearer(key)).quota == Quota(60)


def test_the_watch_finds_what_another_process_changes_within_a_second(tmp_path):
    callers = callers_of("always")
    refresh = KeyRefresh(KeyRows(database(tmp_path)), callers)
    elsewhere = KeyRows(database(tmp_path))
    refresh.start()
    try:
        key, kept = made(elsewhere)
        wait_for(lambda: taken(callers, key))
        elsewhere.revoke(kept.id, "cli")
        wait_for(lambda: not taken(callers, key))
    finally:
        refresh.stop()
    assert EVERY_S <= 1


def test_a_key_is_taken_as_soon_as_a_server_that_was_slow_to_start_serves(rows):
    now = [0.0]
    callers = Callers((), Quota(), only_local=True, clock=lambda: now[0])
    refresh = KeyRefresh(rows, callers)
    key, _ = made(rows)
    now[0] += 2 * STALE_S
    refresh.start()
    try:
        assert taken(callers, key)
    finally:
        refresh.stop()


def test_keys_made_and_revoked_between_two_looks_are_noticed(rows):
    callers = callers_of()
    refresh = KeyRefresh(rows, callers)
    first, kept = made(rows)
    refresh.look()
    second, _ = made(rows)
    rows.revoke(kept.id, "cli")
    refresh.look()
    assert not taken(callers, first)
    assert taken(callers, second)


def test_when_a_key_was_last_used_is_noted(rows):
    used, kept = made(rows)
    made(rows)
    callers = callers_of()
    refresh = KeyRefresh(rows, callers)
    before = time.time()
    callers.identify(bearer(used))
    refresh.stop()
    last = {key.id: key.last_used for key in rows.all()}
    assert last.pop(kept.id) >= before
    assert list(last.values()) == [None]


def test_keys_that_cannot_be_checked_any_more_are_not_taken(rows, tmp_path, caplog):
    key, _ = made(rows)
    now = [0.0]
    callers = Callers(("given",), Quota(), only_local=True, clock=lambda: now[0])
    refresh = KeyRefresh(rows, callers)
    with sqlite3.connect(tmp_path / "registry.db") as broken:
        broken.execute("ALTER TABLE api_keys RENAME TO gone")
    with pytest.raises(StorageFailed):
        refresh.look()
    now[0] = STALE_S
    assert taken(callers, key), "for a while the last answer counts"
    now[0] += 1
    with pytest.raises(NotReady):
        callers.identify(bearer(key))
    assert taken(callers, "given"), "the settings' keys need no database"
    with sqlite3.connect(tmp_path / "registry.db") as mended:
        mended.execute("ALTER TABLE gone RENAME TO api_keys")
    refresh.look()
    assert taken(callers, key)


def test_making_and_revoking_is_in_the_audit_log(tmp_path, caplog):
    engine = database(tmp_path)
    with caplog.at_level(logging.INFO, "server.access.audit"):
        key, kept = made(KeyRows(engine), "user", "team-*")
        KeyRows(engine).revoke(kept.id, "admin-1")
        KeyRows(engine).revoke(kept.id, "admin-2")
    revoked, created = (entry.entry for entry in AuditLog(engine, 100).page(10))
    assert (created.action, created.target, created.actor) == ("key.create", kept.id, "cli")
    assert created.detail == {"role": "user", "adapters": ["team-*"], "expires": None}
    assert (revoked.action, revoked.target, revoked.actor) == ("key.revoke", kept.id, "admin-1")
    told = [json.loads(line.removeprefix("audit ")) for line in caplog.messages]
    assert [(line["action"], line["target"]) for line in told] == [
        ("key.create", kept.id),
        ("key.revoke", kept.id),
    ]
    assert key not in str(created)


def test_a_key_says_whether_it_can_be_used():
    key = ApiKey("key-1", "user", created=0.0, expires=10.0)
    assert key.is_usable(9.9)
    assert not key.is_usable(10.0)


def taken(callers: Callers, key: str) -> bool:
    try:
        callers.identify(bearer(key))
    except Unauthorized:
        return False
    return True


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
