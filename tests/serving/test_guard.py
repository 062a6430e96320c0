from functools import partial

import pytest

from unrolled.errors import OptionError
from unrolled.serving.app import is_loopback
from unrolled.serving.app import serve as serve_runs
from unrolled.serving.guard import COOKIE, Access
from unrolled.serving.limits import RateLimiter

TOKEN = "a secret of the lecture"


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1:80", "[::1]:8000"])
def test_loopback_answers_to_its_own_names(client, host):
    assert client.get("/api/runs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000", "", "[", "@"]
)
def test_loopback_does_not_answer_to_other_names(client, host):
    for path in ("/", "/api/runs", "/static/main.js"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "host"


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://[",
        "http://localhost:1",
        "file://",
        "http://127.0.0.1",
    ],
)
def test_pages_of_other_origins_are_refused(client, origin):
    answer = client.post("/api/session", headers={"Origin": origin})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "origin"


def test_the_page_itself_is_let_in(client):
    assert client.post("/api/session", headers={"Origin": "http://127.0.0.1:8000"}).is_success


def test_requests_across_sites_are_refused(client):
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert client.post("/api/session", headers=headers).status_code == 403


def test_without_the_token_nothing_is_shown(serve):
    client = serve(Access(TOKEN, False), "http://lecture.example", session=False)
    for path in ("/", "/static/main.js", "/api/runs", "/api/openapi.json", "/?token=wrong"):
        answer = client.get(path)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "token"
    headers = {"Authorization": "Bearer wrong", "Cookie": f"{COOKIE}=wrong"}
    assert client.post("/api/session", headers=headers).status_code == 401


def test_the_token_opens_the_page_and_the_api(serve):
    client = serve(Access(TOKEN, False), "http://lecture.example", session=False)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/api/runs", headers=headers).status_code == 200
    answer = client.get("/", params={"token": TOKEN}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/").status_code == 200
    assert client.get("/api/runs").status_code == 200


def test_every_answer_keeps_the_browser_at_home(client):
    for path in ("/", "/static/style.css", "/api/runs", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/views/../../app.py",
        "/static/views/..\\..\\app.py",
        "/static/",
        "/static/main.js%00.py",
        "/app.py",
    ],
)
def test_only_the_files_of_the_page_are_given_out(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert "import" not in answer.text


def test_the_page_is_given_out(client):
    assert client.get("/").headers["content-type"] == "text/html; charset=utf-8"
    answer = client.get("/static/views/write.js")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    again = client.get("/static/views/write.js", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_too_many_requests_are_told_when_to_come_again(serve, monkeypatch):
    stopped = partial(RateLimiter, clock=lambda: 0.0)  # however slow this machine is
    monkeypatch.setattr("unrolled.serving.guard.RateLimiter", stopped)
    client = serve(requests_per_second=1, burst=3)
    question = {"run": "lstm", "text": "A"}
    answers = [client.post("/api/read", json=question) for _ in range(5)]
    assert [answer.status_code for answer in answers[:3]] == [200] * 3
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_a_large_body_is_refused(serve):
    client = serve(body_bytes=1000)
    question = {"run": "lstm", "text": "A" * 2000}
    assert client.post("/api/read", json=question).status_code == 413

    def in_pieces():
        yield b'{"run": "lstm", "text": "'
        for _ in range(100):
            yield b"A" * 100
        yield b'"}'

    headers = {"Content-Type": "application/json"}
    answer = client.post("/api/read", content=in_pieces(), headers=headers)
    assert answer.status_code == 413
    assert client.get("/api/runs").status_code == 200


def test_there_is_room_for_so_many_visitors(serve):
    client = serve(sessions=2)
    assert client.post("/api/session").status_code == 200
    answer = client.post("/api/session")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "sessions"
    assert "retry-after" in answer.headers


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("192.168.1.5", False),
        ("::", False),
        ("example.org", False),
    ],
)
def test_loopback_is_told_from_the_world(host, expected):
    assert is_loopback(host) is expected


@pytest.mark.parametrize("token", ["секретный-ключ", "line\nbreak-and-more"])
def test_a_token_that_no_header_can_carry_is_refused(small_runs, token):
    with pytest.raises(OptionError, match="printable ASCII"):
        serve_runs([small_runs["lstm"]], host="0.0.0.0", port=0, token=token, say=print)


def test_the_address_that_is_told_opens_the_page_with_any_token(serve, small_runs, monkeypatch):
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    token, told = "a+b & c#d%20/e", []
    paths = [small_runs["lstm"]]
    serve_runs(paths, host="127.0.0.1", port=0, token=token, say=told.append)
    client = serve(Access(token, True), session=False)
    path = "/?" + told[0].partition("/?")[2]
    assert client.get(path, follow_redirects=False).status_code == 303
    assert client.get("/").status_code == 200


def test_a_token_that_can_be_guessed_is_refused(small_runs):
    with pytest.raises(OptionError, match="at least 8 characters"):
        serve_runs([small_runs["lstm"]], host="0.0.0.0", port=0, token="secret", say=print)
