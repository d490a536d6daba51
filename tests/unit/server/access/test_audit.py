"""The log of what admins did: added to, read page by page, pruned from its old end."""

import asyncio
import json
import logging
import sqlite3
from types import SimpleNamespace

import pytest

from adapters.errors import AdapterExists, StorageFailed
from server.access.audit import AuditEntry, AuditLog, prune
from server.access.keys import Caller
from server.routes.audited import audited
from tests.support.access import database


@pytest.fixture
def log(tmp_path) -> AuditLog:
    return AuditLog(database(tmp_path), keep=5)


def targets(log: AuditLog, *page: int) -> list[str]:
    return [entry.entry.target for entry in log.page(*page)]


def test_entries_come_back_as_they_were_the_newest_first(log):
    first = AuditEntry(
        "key-1", "adapter.add", "maths", detail={"digest": "d", "version": 1}, time=1.5
    )
    second = AuditEntry("cli", "key.revoke", "key-1", "done", request_id="r-1")
    log.record(first)
    log.record(second)
    assert [entry.entry for entry in log.page(10)] == [second, first]


def test_pages_follow_each_other(log):
    for name in "abcd":
        log.record(AuditEntry("cli", "adapter.add", name))
    newest = log.page(2)
    assert [entry.entry.target for entry in newest] == ["d", "c"]
    assert targets(log, 2, newest[-1].id) == ["b", "a"]
    assert targets(log, 2, 1) == []


def test_the_oldest_entries_go_and_numbers_are_never_used_again(log):
    for number in range(12):
        log.record(AuditEntry("cli", "adapter.add", str(number)))
    entries = log.page(100)
    assert [entry.entry.target for entry in entries] == ["11", "10", "9", "8", "7"]
    assert [entry.id for entry in entries] == [12, 11, 10, 9, 8]


def test_an_entry_is_a_line_of_the_log_too(log, caplog, tmp_path):
    with sqlite3.connect(tmp_path / "registry.db") as broken:
        broken.execute("DROP TABLE audit")
    with caplog.at_level(logging.INFO, "server.access.audit"):
        log.record(AuditEntry("key-1", "adapter.add", "maths\nx"))
    line, lament = caplog.messages
    assert line == (
        'audit {"action": "adapter.add", "actor": "key-1", "detail": {}, "outcome": "done",'
        ' "request_id": null, "target": "maths\\nx"}'
    )
    assert lament == (
        "the audit log lacks the entry above: could not write the audit log: no such table: audit"
    )
    with pytest.raises(StorageFailed, match="could not read the audit log: no such table"):
        log.page(1)


def test_an_entry_is_shown_with_its_number_and_kind(log):
    log.record(AuditEntry("cli", "key.revoke", "key-1", time=1.5, detail={"a": [1]}))
    assert [entry.as_json() for entry in log.page(1)] == [
        {
            "id": 1,
            "object": "audit.entry",
            "actor": "cli",
            "action": "key.revoke",
            "target": "key-1",
            "outcome": "done",
            "detail": {"a": [1]},
            "request_id": None,
            "time": 1.5,
        }
    ]


def test_an_empty_log_can_be_read_and_pruned(tmp_path):
    engine = database(tmp_path)
    with engine.begin() as connection:
        prune(connection, 1)
    assert AuditLog(engine, 1).page(9) == []


def do(log: AuditLog, work=None) -> None:
    """Something by an admin's request, done within the block that audits it."""
    state = SimpleNamespace(caller=Caller("key-1"), request_id="r-1")
    request = SimpleNamespace(state=state)
    parts = SimpleNamespace(access=SimpleNamespace(audit=log))

    async def run() -> None:
        async with audited(request, parts, "adapter.add", "maths") as detail:
            if work is not None:
                await work()
            detail["version"] = 1

    asyncio.run(run())


def test_what_is_done_is_noted_with_who_and_how(log):
    do(log)
    (numbered,) = log.page(10)
    entry = numbered.entry
    assert (entry.actor, entry.action, entry.target) == ("key-1", "adapter.add", "maths")
    assert (entry.outcome, entry.detail, entry.request_id) == ("done", {"version": 1}, "r-1")


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (AdapterExists("taken"), "adapter_exists"),
        (KeyError("x"), "internal_error"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_what_fails_is_noted_with_how_it_ended(log, failure, outcome):
    async def fail() -> None:
        raise failure

    with pytest.raises(type(failure)):
        do(log, fail)
    (entry,) = log.page(10)
    assert (entry.entry.outcome, entry.entry.detail) == (outcome, {})


LONG = {
    "a target": AuditEntry("key-1", "adapter.add", "x" * 9000),
    "a path": AuditEntry("key-1", "adapter.add", "x", detail={"path": "y" * 9000}),
    "escapes": AuditEntry("key-1", "adapter.add", "\U0001f642" * 900, detail={"p": "\x1b" * 900}),
    "a list": AuditEntry("key-1", "key.create", "x", detail={"adapters": ["z" * 64] * 9000}),
}


@pytest.mark.parametrize("case", LONG)
def test_no_line_is_longer_than_is_read(log, caplog, case):
    with caplog.at_level(logging.INFO, "server.access.audit"):
        log.record(LONG[case])
    (line,) = caplog.messages
    assert len(line) < 4096
    (kept,) = log.page(1)
    assert len(json.dumps(kept.as_json())) < 4096
    assert kept.entry.target[:3] == LONG[case].target[:3]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("x" * 256, "x" * 256),
        ("x" * 257, "x" * 256 + "…"),
        ("\x1b" * 42, "\x1b" * 42),  # six characters each, as JSON has them
        ("\x1b" * 43, "\x1b" * 42 + "…"),
        ("\x1b" * 42 + "abcde", "\x1b" * 42 + "abcd…"),
        ("", ""),
    ],
)
def test_a_text_is_cut_where_its_line_would_be_too_long(log, given, kept):
    log.record(AuditEntry("cli", "adapter.add", given, detail={"path": given, "all": [given]}))
    (numbered,) = log.page(1)
    assert numbered.entry.target == kept
    assert numbered.entry.detail == {"path": kept, "all": [kept]}


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_as_long_as_is_kept_is_kept_whole(log, kind):
    log.record(AuditEntry("cli", "key.create", "x", detail={"whole": kind(range(32)), "n": 7}))
    log.record(AuditEntry("cli", "key.create", "x", detail={"longer": kind(range(33))}))
    longer, whole = (numbered.entry.detail for numbered in log.page(2))
    assert whole == {"whole": list(range(32)), "n": 7}
    assert longer == {"longer": [*range(32), "and 1 more"]}


def test_of_a_long_list_the_rest_is_counted(log):
    log.record(LONG["a list"])
    (kept,) = log.page(1)
    *first, rest = kept.entry.detail["adapters"]
    assert first == ["z" * 64] * len(first)
    assert rest == f"and {9000 - len(first)} more"
