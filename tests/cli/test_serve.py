import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

pytest.importorskip("uvicorn", reason="the page needs fastapi and uvicorn")


@pytest.fixture
def serving(small_runs):
    """Start `unrolled serve` with some options; return its process and its address."""
    processes = []

    def start(*options):
        process = subprocess.Popen(
            [sys.executable, "-m", "unrolled", "serve", str(small_runs["lstm"]), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"UNROLLED_TOKEN": ""},
        )
        processes.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def get(address, path="", **headers):
    request = urllib.request.Request(address.partition("?")[0] + path, headers=headers)
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def stop(process, number):
    """End the server by a signal, and hold it to how it ends."""
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode in (0, 128 + number, -number)
    assert out == ""
    assert "Traceback" not in err


def test_the_page_is_served_until_ctrl_c(serving):
    process, address = serving("--port", "0")
    assert address.startswith("http://127.0.0.1:")
    assert "<title>unrolled</title>" in get(address)
    assert json.loads(get(address, "api/runs"))["runs"][0]["name"] == "lstm"
    stop(process, signal.SIGINT)


def test_beyond_this_machine_a_token_is_made_up_and_the_page_is_served_until_it_is_ended(serving):
    process, address = serving("--port", "0", "--host", "0.0.0.0")
    name, _, token = address.partition("?token=")
    assert len(token) >= 20
    here = name.replace("0.0.0.0", "127.0.0.1")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get(here)
    assert "lstm" in get(here, "api/runs", Authorization=f"Bearer {token}")
    stop(process, signal.SIGTERM)


def test_an_address_that_is_taken_is_said_in_one_line(small_runs, unrolled):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = unrolled("serve", small_runs["lstm"], "--port", port)
    assert refused.code == 1
    assert f"127.0.0.1:{port} cannot be listened on" in refused.err
    assert refused.err.count("\n") <= 3


def test_what_is_no_run_is_said_in_one_line(unrolled, tmp_path):
    refused = unrolled("serve", tmp_path)
    assert refused.code == 1
    assert "not a run, it has no config.json" in refused.err


def test_a_missing_library_is_named_with_its_extra(unrolled, small_runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "unrolled.serving.app", raising=False)
    refused = unrolled("serve", small_runs["lstm"])
    assert refused.code == 1
    assert "the page needs the library uvicorn" in refused.err
    assert 'pip install "unrolled[serve]"' in refused.err
