import pytest

from unrolled.data import Source
from unrolled.errors import OptionError
from unrolled.serving.limits import Guesses, Limits, RateLimiter
from unrolled.serving.reading import read
from unrolled.serving.sessions import Sessions


@pytest.fixture(scope="module")
def reading(runs):
    return read(runs.get("lstm").subject, Source.text("hear me speak"))


@pytest.fixture
def begin():
    """Begin a session and use it, as a first request does."""

    def begin(sessions):
        return sessions.get(sessions.create())

    return begin


def test_a_session_costs_nothing_until_it_holds_something(clock, reading, begin):
    sessions = Sessions(Limits(sessions=2), clock)
    holder = begin(sessions)
    sessions.keep(holder, ("a", 1), reading)
    for _ in range(10_000):
        sessions.create()
        begin(sessions)
    assert (len(sessions), len(sessions._used)) == (1, 1)
    assert sessions.recall(holder, ("a", 1)) is reading


def test_of_too_many_sessions_the_longest_unused_gives_way(clock, reading, begin):
    sessions = Sessions(Limits(sessions=2), clock)
    first, second, third = (begin(sessions) for _ in range(3))
    for session in (first, second):
        sessions.keep(session, ("a", 1), reading)
    assert sessions.get(first.id) is first
    sessions.keep(third, ("a", 1), reading)
    held = [bool(session.readings) for session in (first, second, third)]
    assert held == [True, False, True]
    assert sessions.nbytes == 2 * reading.nbytes
    assert sessions.get(second.id) is second  # it may begin again


def test_a_name_that_this_server_has_not_given_is_no_session(clock):
    sessions = Sessions(Limits(), clock)
    id = sessions.create()
    for other in (
        id[:-1] + "!",
        "a" + id,
        id.partition(".")[0],
        "",
        ".",
        "é",
        Sessions(Limits()).create(),
    ):
        assert sessions.get(other) is None
    assert sessions.get(id) is not None


def test_what_a_session_holds_is_forgotten_when_it_is_not_used(clock, reading, begin):
    sessions = Sessions(Limits(session_seconds=60), clock)
    used, unused = begin(sessions), begin(sessions)
    for session in (used, unused):
        sessions.keep(session, ("a", 1), reading)
    clock.now += 50
    assert sessions.get(used.id) is used
    clock.now += 50
    assert sessions.get(used.id) is used
    assert sessions.recall(used, ("a", 1)) is reading
    assert sessions.recall(unused, ("a", 1)) is None
    assert (len(sessions), sessions.nbytes) == (1, reading.nbytes)


def test_readings_keep_within_their_memory(clock, reading, begin):
    limit = 3 * reading.nbytes
    sessions = Sessions(Limits(readings_bytes=limit), clock)
    visitors = [begin(sessions) for _ in range(5)]
    for visitor in visitors:
        sessions.keep(visitor, ("a", 1), reading)
        sessions.keep(visitor, ("b", 1), reading)
        assert sessions.nbytes <= limit
    assert [len(visitor.readings) for visitor in visitors] == [0, 0, 0, 1, 2]


def test_a_session_keeps_the_few_readings_that_were_used_last(clock, reading, begin):
    sessions = Sessions(Limits(), clock)
    visitor = begin(sessions)
    for number in range(9):
        sessions.keep(visitor, ("a", number), reading)
        assert sessions.recall(visitor, ("a", 0)) is reading
    assert [number for _, number in visitor.readings] == [6, 7, 8, 0]
    assert sessions.nbytes == 4 * reading.nbytes


def test_an_address_may_try_a_few_tokens_and_the_same_one_again(clock):
    guesses = Guesses(Limits(token_guesses=3, guess_seconds=5), clock)
    for token in ("one", "two", "two", "one", "three"):
        assert guesses.wait("here") == 0
        guesses.was_wrong("here", token)
    assert guesses.wait("here") == 5
    assert guesses.wait("there") == 0
    clock.now += 5
    assert guesses.wait("here") == 0


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
