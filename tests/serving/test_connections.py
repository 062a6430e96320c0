"""A server on a real socket, and those who connect and say nothing, or not all."""

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from http.client import HTTPResponse

import pytest

pytest.importorskip("uvicorn", reason="the page needs uvicorn")

from unrolled.serving.app import create_app, make_server
from unrolled.serving.guard import Access
from unrolled.serving.limits import Limits, network_of

HEAD = b"POST /api/read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n"
GET = b"GET /api/words HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def connect(runs):
    """Serve within limits; return what connects, sends something, and returns the socket."""
    with ExitStack() as ending:

        def start(**limits):
            server = make_server(create_app(runs, Access(None, True), Limits(**limits)))
            listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()

            def stop():
                server.should_exit = True
                thread.join(10)
                listening.close()

            ending.callback(stop)
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)

            def connect(content=b""):
                connection = socket.create_connection(listening.getsockname())
                ending.enter_context(connection)
                connection.settimeout(60)
                connection.sendall(content)
                return connection

            return connect

        yield start


def answer(connection):
    """Return the answer, whose body is still to be read; None where there will be none."""
    response = HTTPResponse(connection)
    try:
        response.begin()
    except ConnectionError:
        return None
    return response


def status(connection):
    """Read the answer; return its status, 0 where the connection was ended without one."""
    response = answer(connection)
    if response is None:
        return 0
    response.read()
    return response.status


def was_sent(connection, content):
    """Send something; return whether the connection still stands."""
    try:
        connection.sendall(content)
    except ConnectionError:
        return False
    return True


@pytest.mark.parametrize("content", [b"", b"GET / HT", HEAD, HEAD + b"{"])
def test_what_is_not_said_in_time_is_not_waited_for(connect, content):
    open_one = connect(head_seconds=1, request_seconds=1)
    before = time.monotonic()
    assert status(open_one(content)) == 0
    assert 0.8 < time.monotonic() - before < 60


@pytest.mark.parametrize("content", [b"", GET, HEAD], ids=["head", "next head", "body"])
def test_a_byte_now_and_then_gains_no_time(connect, content):
    open_one = connect(head_seconds=1, request_seconds=1)
    connection = open_one(content)
    if content == GET:
        assert status(connection) == 200
    before = time.monotonic()
    while was_sent(connection, b"a"):
        time.sleep(0.1)
        assert time.monotonic() - before < 60


def test_a_body_that_nobody_waits_for_has_to_end_too(connect):
    open_one = connect(head_seconds=1)
    refused = open_one(HEAD.replace(b"localhost", b"evil.example"))
    assert status(refused) == 403
    before = time.monotonic()
    assert status(refused) == 0
    assert time.monotonic() - before < 60


def test_whoever_does_not_read_is_not_written_for(connect, small_runs):
    open_one = connect(request_seconds=1)
    connection = open_one()
    before = time.monotonic()
    while was_sent(connection, GET * 100):  # what nobody reads fills all buffers
        assert time.monotonic() - before < 60


@pytest.mark.parametrize("content", [b"", b"GET / HT", HEAD, HEAD + b"{", GET])
def test_those_who_wait_give_way_to_those_who_come(connect, content):
    open_one = connect(connections=30, address_connections=20)
    silent = []
    for _ in range(40):
        silent.append(open_one(content))
        if content == GET:  # answered before the next one comes: in a crowd it may itself give way
            assert status(silent[-1]) == 200
    assert status(open_one(GET)) == 200
    last = open_one(GET)
    assert status(last) == 200
    assert len(silent) == 40
    last.sendall(GET)
    assert status(last) == 200  # and stays


def test_one_who_is_answered_does_not_give_way(connect):
    open_one = connect(connections=30, address_connections=3)
    begun = answer(open_one(b"POST /api/session HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    name = json.load(begun)["session"].encode()
    question = b'{"run": "lstm", "text": "A", "length": 4000}'
    writing = answer(
        open_one(
            b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"X-Session: %s\r\nContent-Length: %d\r\n\r\n%s" % (name, len(question), question)
        )
    )
    assert writing.status == 200
    for _ in range(10):
        assert status(open_one(GET)) == 200
    assert b"done" in writing.read()


def test_a_head_without_end_is_refused(connect):
    open_one = connect(head_bytes=4000)
    assert status(open_one(b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 5000)) == 400


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("fe80::1%eth0", "fe80::/64"),
        ("2001:db8:0:1:ffff::9", "2001:db8:0:1::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_addresses_of_one_subscriber_are_one(address, network):
    assert network_of(address) == network


@pytest.mark.parametrize("size", [70_000, 3_000_000, 9_000_000])
@pytest.mark.parametrize("path", ["/api/read", "/api/caption", "/api/nothing", "/"])
def test_who_sends_too_much_hears_why(connect, size, path):
    """A connection that is closed while a body comes in is reset, and the answer lost."""
    address = connect()().getpeername()
    request = urllib.request.Request(
        f"http://{address[0]}:{address[1]}{path}", data=b"a" * size, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError) as told:
        urllib.request.urlopen(request, timeout=120)
    with told.value as answer:
        assert answer.code in (404, 405, 413, 422), answer.code
        if path == "/api/read":
            assert json.load(answer)["error"]["code"] == "size"


def test_a_body_that_never_ends_does_not_hold_up_its_answer_for_ever(connect):
    connection = connect(head_seconds=1)(
        b"POST /api/read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\nabc"
    )
    begin = time.monotonic()
    assert status(connection) == 413
    assert time.monotonic() - begin < 15
