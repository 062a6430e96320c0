from functools import partial

import pytest
from starlette import testclient as starlette

from unrolled.errors import OptionError
from unrolled.serving.app import is_loopback
from unrolled.serving.app import serve as serve_runs
from unrolled.serving.guard import COOKIE, KNOWN_COOKIE, Access
from unrolled.serving.limits import Guesses, RateLimiter

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


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_requests_across_sites_are_refused(client, site):
    headers = {"Sec-Fetch-Site": site}
    assert client.post("/api/session", headers=headers).status_code == 403
    assert client.get("/", headers=headers).status_code == 200


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
    assert "SameSite=lax" in cookie
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


def test_bodies_together_have_a_limit_and_leave_nothing_behind(serve):
    client = serve(body_bytes=2000, waiting_bytes=1000)
    question = {"run": "lstm", "text": "A" * 1500}
    answer = client.post("/api/read", json=question)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "busy"
    assert "retry-after" in answer.headers
    for _ in range(3):
        assert client.post("/api/read", json=question | {"text": "A" * 800}).is_success


def test_the_head_of_a_request_has_a_limit(client):
    for answer in (
        client.get("/api/runs", headers={"X-Long": "a" * 17_000}),
        client.get("/api/runs", headers={f"X-{number}": "a" for number in range(4000)}),
        client.get("/api/words", params={"language": "a" * 17_000}),
        client.get("/" + "a" * 17_000),
    ):
        assert answer.status_code == 431


def test_beginning_sessions_keeps_nobody_out(serve):
    client = serve(sessions=2, requests_per_second=10_000, burst=10_000)
    question = {"run": "lstm", "text": "A"}
    assert client.post("/api/read", json=question).status_code == 200
    for _ in range(600):
        assert client.post("/api/session").status_code == 200
    assert client.post("/api/read", json=question).status_code == 200


def test_whoever_guesses_tokens_has_to_wait_and_holds_up_nobody_who_is_in(serve, monkeypatch):
    stopped = partial(Guesses, clock=lambda: 0.0)
    monkeypatch.setattr("unrolled.serving.guard.Guesses", stopped)
    visitor = serve(Access(TOKEN, False), "http://lecture.example", session=False)
    program = {"Authorization": f"Bearer {TOKEN}"}
    visitor.get("/", params={"token": TOKEN})
    anybody = starlette.TestClient(visitor.app, base_url="http://lecture.example")
    ways = [
        lambda token: anybody.get("/", params={"token": token}),
        lambda token: anybody.get("/api/runs", headers={"Authorization": f"Bearer {token}"}),
        lambda token: anybody.get("/static/main.js", headers={"Cookie": f"{COOKIE}={token}"}),
    ]
    statuses = [ways[number % 3](f"guess-{number}").status_code for number in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert anybody.get("/api/runs", headers=program).status_code == 429  # a right guess, too
    assert int(anybody.get("/api/runs", headers=program).headers["retry-after"]) >= 1
    assert anybody.get("/").status_code == 401
    assert visitor.get("/api/runs").status_code == 200
    assert visitor.get("/", params={"token": TOKEN}).status_code == 200
    forged = {"Cookie": f"{KNOWN_COOKIE}=guess"}
    assert anybody.get("/api/runs", headers=forged).status_code == 401


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


@pytest.mark.parametrize(
    "other", ['prefs={"a": 1}', "a[b]=1", "n=José", "flag", 'x="un closed', "expires=Thu; Path=/"]
)
def test_cookies_of_other_programs_on_the_host_are_passed_by(other):
    from starlette.datastructures import Headers

    from unrolled.serving.guard import COOKIE, _cookies_in

    for text in (f"{other}; {COOKIE}=lecture-2026", f"{COOKIE}=lecture-2026; {other}"):
        headers = Headers(raw=[(b"cookie", text.encode("latin-1"))])
        assert _cookies_in(headers, "")[COOKIE] == "lecture-2026"


def test_two_servers_on_one_host_do_not_take_each_others_visitors(serve):
    """A browser keeps cookies by host, whatever the port."""
    cookies = {}
    tokens = {8000: "lecture-2026", 8001: "seminar-2026"}
    clients = {
        port: serve(Access(token, False), f"http://lecture.example:{port}", session=False)
        for port, token in tokens.items()
    }
    for port, client in clients.items():
        answer = client.get("/", params={"token": tokens[port]}, follow_redirects=False)
        cookies |= dict(
            each.split(";")[0].split("=", 1) for each in answer.headers.get_list("set-cookie")
        )
        client.cookies.clear()
    assert len(cookies) == 4
    both = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    assert [each.get("/api/runs", headers=both).status_code for each in clients.values()] == [
        200,
        200,
    ]
