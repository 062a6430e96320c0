import pytest

from unrolled.data import Source
from unrolled.errors import OptionError
from unrolled.serving.limits import Limits, RateLimiter
from unrolled.serving.reading import read
from unrolled.serving.sessions import Sessions, TooManySessionsError


@pytest.fixture(scope="module")
def reading(runs):
    return read(runs.get("lstm").subject, Source.text("hear me speak"))


def test_a_session_ends_when_it_is_not_used(clock, reading):
    sessions = Sessions(Limits(session_seconds=60), clock)
    used, unused = sessions.create(), sessions.create()
    sessions.keep(unused, ("a", 1), reading)
    clock.now += 50
    assert sessions.get(used.id) is used
    clock.now += 50
    assert sessions.get(used.id) is used
    assert sessions.get(unused.id) is None
    assert (len(sessions), sessions.nbytes) == (1, 0)


def test_there_are_no_more_sessions_than_allowed(clock):
    sessions = Sessions(Limits(sessions=2, session_seconds=60), clock)
    sessions.create(), sessions.create()
    with pytest.raises(TooManySessionsError):
        sessions.create()
    clock.now += 61
    sessions.create()


def test_readings_keep_within_their_memory(clock, reading):
    limit = 3 * reading.nbytes
    sessions = Sessions(Limits(readings_bytes=limit), clock)
    visitors = [sessions.create() for _ in range(5)]
    for visitor in visitors:
        sessions.keep(visitor, ("a", 1), reading)
        sessions.keep(visitor, ("b", 1), reading)
        assert sessions.nbytes <= limit
    assert [len(visitor.readings) for visitor in visitors] == [0, 0, 0, 1, 2]


def test_a_session_keeps_a_few_readings(clock, reading):
    sessions = Sessions(Limits(), clock)
    visitor = sessions.create()
    for number in range(9):
        sessions.keep(visitor, ("a", number), reading)
    assert [number for _, number in visitor.readings] == [5, 6, 7, 8]
    assert sessions.nbytes == 4 * reading.nbytes


def test_a_bucket_holds_a_burst_and_fills_again(clock):
    rates = RateLimiter(per_second=2, burst=3, clock=clock)
    assert [rates.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert rates.wait("b") == 0
    clock.now += 0.5
    assert rates.wait("a") == 0
    assert rates.wait("a") > 0


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(OptionError, match="sessions must be at least 1, got 0"):
        Limits(sessions=0)
