"""`unrolled lecture`: a server without runs, and the language in the address that it prints."""

import json
import os
import subprocess
import sys
import urllib.request

import pytest

pytest.importorskip("uvicorn", reason="the page needs fastapi and uvicorn")


def test_the_lecture_is_served_without_a_run():
    command = [sys.executable, "-m", "unrolled", "lecture", "--port", "0", "--language", "pt"]
    environment = os.environ | {"UNROLLED_TOKEN": ""}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            address, _, shown = process.stdout.readline().strip().partition("#")
            assert shown == "lecture/sequence/pt-BR"
            with urllib.request.urlopen(f"{address}api/runs") as answer:
                assert json.load(answer)["runs"] == []
            with urllib.request.urlopen(f"{address}static/lecture/frame.js") as answer:
                assert answer.headers["content-type"].startswith("text/javascript")
            with urllib.request.urlopen(f"{address}api/lecture") as answer:
                cells = json.load(answer)["cells"]
        finally:
            process.terminate()
    assert [*cells] == ["rnn", "lstm", "gru", "janet"]
    assert cells["lstm"]["gates"] == ["i", "f", "g", "o"]
    formulas = [equation["formula"] for equation in cells["lstm"]["step"]["equations"]]
    assert "h_{t} = o · tanh(c_{t})" in formulas


@pytest.mark.parametrize(
    ("options", "ending"),
    [((), ""), (("--language", "pt-BR"), "/pt-BR"), (("--language", "EN"), "/en")],
    ids=["the browser's", "pt-BR", "EN"],
)
def test_the_address_ends_in_the_first_scene_and_the_language(
    unrolled, monkeypatch, options, ending
):
    told = {}
    monkeypatch.setattr(
        "unrolled.cli.lecture.serve_page", lambda runs, **given: told.update(given, runs=runs)
    )
    done = unrolled("lecture", *options, "--port", 8123)
    assert done.code == 0, done.err
    assert told["shown"] == f"#lecture/sequence{ending}"
    assert (told["runs"], told["port"], told["host"]) == ((), 8123, "127.0.0.1")


@pytest.mark.parametrize("language", ["xx", "p", "", "pt,en"])
def test_a_language_that_there_is_not_is_refused(unrolled, language):
    refused = unrolled("lecture", "--language", language)
    assert (refused.code, refused.out) == (1, "")
    assert f"--language must be one of en, pt-BR, got {language!r}" in refused.err
