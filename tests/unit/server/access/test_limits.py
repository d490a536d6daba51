"""How many requests a caller may send, and how many may run at once."""

import pytest

from server.access.keys import Caller, Quota
from server.access.limits import Bucket, Limiter
from server.errors import RateLimited, TooManyConcurrent


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock) -> Limiter:
    return Limiter(clock)


def send(limiter: Limiter, caller: Caller, times: int = 1) -> None:
    for _ in range(times):
        with limiter.holding(caller):
            pass


def test_a_bucket_is_full_at_first_and_refilled_steadily():
    bucket = Bucket(6, 6, 0.0)
    assert [bucket.take(0.0) for _ in range(6)] == [0.0] * 6
    assert bucket.take(0.0) == pytest.approx(10)
    assert bucket.take(4.0) == pytest.approx(6)
    assert bucket.take(10.0) == 0
    assert bucket.take(1000.0) == 0
    assert bucket.tokens == pytest.approx(5), "it never holds more than its size"


def test_a_caller_beyond_its_rate_is_told_when_to_come_back(limiter, clock):
    caller = Caller("a", quota=Quota(requests_per_minute=30))
    send(limiter, caller, 30)
    with pytest.raises(RateLimited) as refused:
        send(limiter, caller)
    assert str(refused.value) == (
        "this API key may send 30 requests a minute; wait until the next one"
    )
    assert refused.value.retry_after == 2
    clock.now += refused.value.retry_after
    send(limiter, caller)
    with pytest.raises(RateLimited):
        send(limiter, caller)
    assert limiter.refused == 2


def test_a_new_rate_counts_at_once(limiter, clock):
    send(limiter, Caller("a", quota=Quota(5)), 5)
    send(limiter, Caller("a", quota=Quota(7)), 7)
    with pytest.raises(RateLimited, match="may send 7 requests"):
        send(limiter, Caller("a", quota=Quota(7)))


def test_whoever_comes_back_late_has_a_whole_minutes_requests(limiter, clock):
    caller = Caller("a", quota=Quota(3))
    send(limiter, caller, 3)
    clock.now += 90
    send(limiter, caller, 3)
    with pytest.raises(RateLimited) as refused:
        send(limiter, caller)
    assert refused.value.retry_after == 20


def test_callers_do_not_take_from_each_other(limiter):
    quota = Quota(1, 1)
    one, two = Caller("one", quota=quota), Caller("two", quota=quota)
    with limiter.holding(one), limiter.holding(two):
        assert limiter.running == 2
    send(limiter, Caller("three"), 1000)


def test_as_many_run_at_once_as_may(limiter):
    caller = Caller("a", quota=Quota(max_concurrent=2))
    with limiter.holding(caller):
        with limiter.holding(caller), pytest.raises(TooManyConcurrent) as refused:
            send(limiter, caller)
        assert str(refused.value) == (
            "2 requests of this API key run already, which is its limit; wait for one of them to"
            " end"
        )
        assert refused.value.retry_after == 1
        send(limiter, caller)
        with limiter.holding(caller), pytest.raises(TooManyConcurrent):
            send(limiter, caller)
    assert (limiter.running, limiter.refused) == (0, 2)


def test_a_place_is_given_back_whatever_happens(limiter):
    caller = Caller("a", quota=Quota(max_concurrent=1))
    for failure in (ValueError, KeyboardInterrupt):
        with pytest.raises(failure), limiter.holding(caller):
            raise failure
        assert limiter.running == 0
    send(limiter, caller)


def test_buckets_that_are_full_again_are_forgotten(limiter, clock):
    for number in range(1024):
        send(limiter, Caller(f"key-{number}", quota=Quota(1)))
    assert len(limiter._buckets) == 1024
    clock.now += 59
    send(limiter, Caller("before they are full", quota=Quota(1)))
    assert len(limiter._buckets) == 1025
    with pytest.raises(RateLimited):
        send(limiter, Caller("key-7", quota=Quota(1)))
    clock.now += 1
    send(limiter, Caller("when all but two are", quota=Quota(1)))
    assert set(limiter._buckets) == {"key-7", "before they are full", "when all but two are"}


def test_few_buckets_are_let_be(limiter, clock):
    for number in range(1023):
        send(limiter, Caller(f"key-{number}", quota=Quota(1)))
    clock.now += 1000
    send(limiter, Caller("another", quota=Quota(1)))
    assert len(limiter._buckets) == 1024


def test_as_many_buckets_as_are_swept_are(limiter, clock):
    for number in range(1024):
        send(limiter, Caller(f"key-{number}", quota=Quota(1)))
    clock.now += 60
    send(limiter, Caller("another", quota=Quota(1)))
    assert set(limiter._buckets) == {"another"}
