"""Tenants take turns: who has the fewest running is next, and leaves places to others."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engine.worker.turns import SHARE, in_turns, prefill_order, prefill_share

PLACES = 32


def turns(waiting, running=(), places=PLACES, resuming=frozenset()):
    """Requests are (tenant, number)."""
    return in_turns(waiting, running, places, lambda one: one[0], lambda one: one in resuming)


def requests(tenant: str, count: int, first: int = 0) -> list[tuple[str, int]]:
    return [(tenant, first + number) for number in range(count)]


def test_who_came_later_does_not_wait_for_all_of_who_came_first():
    now, later = turns([*requests("a", 100), ("b", 0)])
    assert now[:3] == [("a", 0), ("b", 0), ("a", 1)]
    assert len(later) == 101 - len(now)


def test_one_tenant_leaves_places_for_who_comes_next():
    now, _ = turns(requests("a", 100))
    assert len(now) == 24
    assert turns([("b", 0)], running=now) == ([("b", 0)], [])
    assert turns([("a", 24), ("b", 0)], running=now)[0] == [("b", 0)]


def test_two_busy_tenants_have_equal_shares_and_leave_places():
    now, _ = turns([*requests("a", 100), *requests("b", 100)])
    counts = Counter(tenant for tenant, _ in now)
    assert counts["a"] == counts["b"]
    assert sum(counts.values()) < PLACES


def test_a_server_without_keys_uses_all_of_its_places():
    now, later = turns(requests("", 40))
    assert now == requests("", PLACES)
    assert later == requests("", 8, PLACES)


def test_what_had_begun_resumes_first_whosever_it_is():
    waiting = [("b", 0), ("a", 7), ("a", 8)]
    now, later = turns(waiting, requests("a", 30), resuming={("a", 7), ("a", 8)})
    assert now[:2] == [("a", 7), ("a", 8)]
    assert later == [("b", 0)]


@given(
    waiting=st.lists(st.sampled_from("abcd"), max_size=60),
    running=st.lists(st.sampled_from("abcd"), max_size=PLACES),
)
def test_nobody_is_lost_none_overtakes_within_a_tenant(waiting, running):
    queue = [(tenant, number) for number, tenant in enumerate(waiting)]
    held = [(tenant, -1) for tenant in running]
    now, later = turns(queue, held)
    assert sorted([*now, *later]) == sorted(queue)
    for tenant in "abcd":
        own = [one for one in [*now, *later] if one[0] == tenant]
        assert own == sorted(own)
    counts, free = Counter(running), PLACES - len(running)
    for tenant, _ in now:
        assert counts[tenant] < SHARE * free
        counts[tenant] += 1
        free -= 1
    # Whoever waits on would get more than its share, or there is no place at all.
    assert all(free <= 0 or counts[tenant] >= SHARE * free for tenant, _ in later)


@pytest.mark.parametrize(
    ("prefilling", "first", "share"),
    [
        ([], "b", 0),
        (["a"], None, 0),
        (["a"], "a", 0),
        (["", ""], "", 0),
        (["a", "a"], "a", 0),
        (["a", "b"], "b", 256),
        (["a", "b", "b", "b"], None, 256),
        (["a", "b", "c"], "c", 170),
        (["a", "b"], "c", 128),
        (["a"], "b", 256),
        (["a"] * 4, "b", 64),
        (["a"] * 4000, "b", 1),
    ],
)
def test_tenants_share_a_step_and_leave_half_of_it_to_one_that_waits(prefilling, first, share):
    assert prefill_share(prefilling, first, 512) == share


def test_answers_come_first_and_then_a_prompt_of_each_tenant():
    running = [("a", 0), ("a", 1), ("b", 0), ("a", 2), ("b", 1), ("c", 0)]
    order = prefill_order(running, lambda one: one[0], lambda one: one != ("b", 1))
    assert order == [("b", 1), ("a", 0), ("b", 0), ("c", 0), ("a", 1), ("a", 2)]
