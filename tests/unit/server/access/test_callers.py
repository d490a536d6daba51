"""From a header to who sends it."""

import pytest

from server.access.authentication import STALE_S, Callers
from server.access.keys import AdapterRule, ApiKey, Caller, Quota, digest_of
from server.access.rows import Stored
from server.errors import NotReady, Unauthorized
from tests.support.access import callers_of

NEEDED = "an API key is needed: send the header 'Authorization: Bearer KEY'"
UNKNOWN = "the API key is not known to this server, has expired or is revoked"


def stored(**keys: ApiKey) -> Stored:
    return Stored({digest_of(key): facts for key, facts in keys.items()}, len(keys))


@pytest.mark.parametrize("header", ["Bearer one", "bearer one", "BEARER   one ", "Bearer one\t"])
def test_the_scheme_is_read_in_any_case_and_blanks_around_the_key_do_not_count(header):
    assert callers_of("one").identify(header) == Caller("settings-1")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        *((None, NEEDED), ("", NEEDED), ("one", NEEDED), ("Bearer", NEEDED), ("Bearer  ", NEEDED)),
        *(("Basic one", NEEDED), ("Bearerone", NEEDED), ("Key Bearer one", NEEDED)),
        *(("Bearer two", UNKNOWN), ("Bearer one one", UNKNOWN), ("Bearer ONE", UNKNOWN)),
    ],
)
def test_a_header_without_a_key_that_is_taken_is_refused(header, words):
    with pytest.raises(Unauthorized) as refused:
        callers_of("one").identify(header)
    assert str(refused.value) == words


def test_keys_of_the_settings_are_numbered_admins_with_the_servers_quota():
    callers = callers_of("one", "two", quota=Quota(60, 4))
    two = callers.identify("Bearer two")
    assert two == Caller("settings-2", "admin", AdapterRule(), Quota(60, 4))


def test_without_keys_this_machine_has_the_servers_quota():
    assert callers_of(quota=Quota(60)).identify(None) == Caller(quota=Quota(60))
    assert callers_of().needs_key is False
    assert callers_of("one").needs_key
    assert callers_of(only_local=False).needs_key


def test_a_key_of_the_database_says_what_its_caller_may_do():
    callers = callers_of(quota=Quota(60, 4))
    rule = AdapterRule(("team-*",))
    callers.take(stored(mine=ApiKey("key-1", "user", 1.0, rule, quota=Quota(5))))
    assert callers.identify("Bearer mine") == Caller("key-1", "user", rule, Quota(5, 4))


def test_uses_of_keys_of_the_database_are_told_once():
    callers = callers_of("given")
    callers.take(stored(mine=ApiKey("key-1", "user", 1.0), other=ApiKey("key-2", "user", 1.0)))
    callers.identify("Bearer mine")
    callers.identify("Bearer given")
    assert set(callers.taken_uses()) == {"key-1"}
    assert callers.taken_uses() == {}


def test_a_key_that_cannot_be_checked_may_be_sent_again_soon():
    now = [7.0]
    callers = Callers((), Quota(), only_local=True, clock=lambda: now[0])
    callers.take(stored(mine=ApiKey("key-1", "user", 1.0)))
    now[0] += STALE_S + 0.1
    with pytest.raises(NotReady) as refused:
        callers.identify("Bearer mine")
    assert str(refused.value) == (
        "API keys cannot be checked, since their database does not answer; try again later"
    )
    assert refused.value.retry_after == 5
    assert callers.taken_uses() == {}
    callers.confirm()
    assert callers.identify("Bearer mine").id == "key-1"


def test_keys_are_not_stale_before_they_were_read_so_long_ago():
    """Those of a server that just started, whose clock stands anywhere."""
    now = [5 * STALE_S]
    callers = Callers((), Quota(), only_local=True, clock=lambda: now[0])
    assert callers.identify(None).id == ""
    callers.take(stored(mine=ApiKey("key-1", "user", 1.0)))
    now[0] += STALE_S
    assert callers.identify("Bearer mine").id == "key-1"
