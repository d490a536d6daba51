"""Which adapters leave their slots, and which get no new lease so that they can."""

from server.residency.eviction import next_to_drain, next_to_evict

RESIDENT = ("oldest", "older", "newer", "newest")
"""The least recently used first."""


def test_the_least_recently_used_goes_that_nobody_leases():
    assert next_to_evict(RESIDENT, (), {}) == "oldest"
    assert next_to_evict(RESIDENT, (), {"oldest": 1}) == "older"
    assert next_to_evict(RESIDENT, (), {"oldest": 1, "older": 0, "newer": 2}) == "older"


def test_what_must_stay_does_not_go():
    assert next_to_evict(RESIDENT, {"oldest", "newer"}, {"older": 1}) == "newest"
    assert next_to_evict(RESIDENT, RESIDENT, {}) is None


def test_where_all_are_leased_nothing_goes_and_the_least_used_drain():
    leases = {"oldest": 3, "older": 1, "newer": 2, "newest": 1}
    assert next_to_evict(RESIDENT, (), leases) is None
    assert next_to_drain(RESIDENT, (), leases, 1) == {"older"}, "of two alike the older one"
    assert next_to_drain(RESIDENT, {"older"}, leases, 2) == {"newest", "newer"}
    assert next_to_drain(RESIDENT, (), leases, 9) == set(RESIDENT)
    assert next_to_drain(RESIDENT, (), leases, 0) == set()


def test_what_nobody_leases_drains_before_what_somebody_does():
    assert next_to_drain(RESIDENT, (), {"oldest": 1, "newer": 1}, 2) == {"older", "newest"}
