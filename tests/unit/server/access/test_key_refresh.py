"""The thread that looks at the keys again: what it notes, what it tells of, and how it ends."""

import logging
import sqlite3
import threading
import time

import pytest

from server.access import key_refresh
from server.access.key_refresh import KeyRefresh
from server.access.rows import KeyRows
from tests.support.access import callers_of, database, made

WARNING = "could not read the API keys: no such table: api_keys; trying again"


@pytest.fixture
def rows(tmp_path) -> KeyRows:
    return KeyRows(database(tmp_path))


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(key_refresh, "EVERY_S", 0.005)


class CountingRows(KeyRows):
    """Counts how often it is looked at."""

    looks = 0

    def mark(self) -> tuple[int, int]:
        self.looks += 1
        return super().mark()


def rename(tmp_path, old: str, new: str) -> None:
    with sqlite3.connect(tmp_path / "registry.db") as connection:
        connection.execute(f"ALTER TABLE {old} RENAME TO {new}")


def wait_for(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)


def last_used(rows: KeyRows) -> list[float | None]:
    return [key.last_used for key in rows.all()]


def test_the_thread_has_a_name_ends_with_the_process_and_when_it_is_told(rows, quick):
    before = set(threading.enumerate())
    refresh = KeyRefresh(rows, callers_of())
    refresh.start()
    (thread,) = set(threading.enumerate()) - before
    assert (thread.name, thread.daemon) == ("api-keys", True)
    refresh.stop()
    assert not thread.is_alive()


def test_it_looks_again_and_again(tmp_path, quick):
    rows = CountingRows(database(tmp_path))
    refresh = KeyRefresh(rows, callers_of())
    refresh.start()
    try:
        wait_for(lambda: rows.looks > 5)
    finally:
        refresh.stop()


@pytest.mark.parametrize("after", [0.0, 3600.0])
def test_uses_are_noted_now_and_then_and_at_the_end(tmp_path, quick, monkeypatch, after):
    monkeypatch.setattr(key_refresh, "NOTED_EVERY_S", after)
    rows, callers = CountingRows(database(tmp_path)), callers_of()
    key, _ = made(rows)
    refresh = KeyRefresh(rows, callers)
    before = time.time()
    callers.identify(f"Bearer {key}")
    refresh.start()
    try:
        wait_for(lambda: rows.looks > 8)
        if after:
            assert last_used(rows) == [None]
        else:
            wait_for(lambda: last_used(rows) != [None])
    finally:
        refresh.stop()
    (noted,) = last_used(rows)
    assert before <= noted <= time.time()


def test_a_use_is_noted_once(rows):
    callers = callers_of()
    key, kept = made(rows)
    refresh = KeyRefresh(rows, callers)
    callers.identify(f"Bearer {key}")
    refresh.stop()
    rows.used({kept.id: 1.0})
    refresh.stop()
    assert last_used(rows) == [1.0]


def test_a_failure_is_told_once_until_it_has_passed(rows, tmp_path, caplog, quick):
    refresh = KeyRefresh(rows, callers_of())
    rename(tmp_path, "api_keys", "gone")
    with caplog.at_level(logging.INFO, "server.access.key_refresh"):
        for _ in range(3):
            refresh._try(refresh.look)
        assert caplog.messages == [WARNING]
        assert caplog.records[0].levelname == "WARNING"
        rename(tmp_path, "gone", "api_keys")
        refresh._try(refresh.look)
        rename(tmp_path, "api_keys", "gone")
        refresh.start()
        refresh.stop()
    assert caplog.messages == [WARNING, WARNING]


def test_keys_that_did_not_change_are_not_read_again(rows, monkeypatch):
    refresh = KeyRefresh(rows, callers_of())
    made(rows)
    read = []
    stored = rows.stored
    monkeypatch.setattr(rows, "stored", lambda: read.append(1) or stored())
    for _ in range(3):
        refresh.look()
    assert read == [1]
