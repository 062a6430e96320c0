"""`unrolled lecture`: a server without runs, and the language in the address that it prints."""

import json
import os
import subprocess
import sys
import urllib.request

import pytest

pytest.importorskip("uvicorn", reason="the page needs fastapi and uvicorn")


@pytest.mark.parametrize(
    ("options", "ending"),
    [
        ((), "#lecture/sequence"),
        (("--language", "pt"), "#lecture/sequence/pt-BR"),
        (("--language", "en"), "#lecture/sequence/en"),
    ],
    ids=["the browser's", "pt", "en"],
)
def test_the_lecture_is_served_without_a_run(options, ending):
    command = [sys.executable, "-m", "unrolled", "lecture", "--port", "0", *options]
    environment = os.environ | {"UNROLLED_TOKEN": ""}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            address, _, shown = process.stdout.readline().strip().partition("#")
            assert f"#{shown}" == ending
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
    assert "c_{t} = f · c_{t−1} + i · g" in [
        equation["formula"] for equation in cells["lstm"]["step"]["equations"]
    ]


@pytest.mark.parametrize("language", ["xx", "p", "", "pt,en"])
def test_a_language_that_there_is_not_is_refused(unrolled, language):
    refused = unrolled("lecture", "--language", language)
    assert (refused.code, refused.out) == (1, "")
    assert f"--language must be one of en, pt-BR, got {language!r}" in refused.err
