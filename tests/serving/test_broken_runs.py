"""A run that cannot be read stands in nobody's way, before or while others are shown."""

import json
import os
import shutil

import pytest

from support.asking import ask
from unrolled.errors import RunError
from unrolled.serving.app import serve as serve_runs
from unrolled.serving.runs import Runs


def half_a_pair(path):
    content = path.read_text()
    symbol = json.loads(content)["symbols"][0]
    path.write_text(content.replace(json.dumps(symbol), json.dumps("\ud800"), 1))


DAMAGES = {
    "no run": lambda path: (path / "config.json").unlink(),
    "no weights": lambda path: (path / "weights.safetensors").unlink(),
    "cut weights": lambda path: os.truncate(path / "weights.safetensors", 100),
    "no JSON": lambda path: (path / "config.json").write_text("{"),
    "another shape": lambda path: (path / "config.json").write_text("[]"),
    "no vocabulary": lambda path: (path / "vocabulary.json").write_text("{}"),
    "deep JSON": lambda path: (path / "vocabulary.json").write_text("[" * 100_000),
    "half a pair": lambda path: half_a_pair(path / "vocabulary.json"),
    "no folder": shutil.rmtree,
}


@pytest.fixture
def paths(small_runs, tmp_path):
    return [shutil.copytree(small_runs[name], tmp_path / name) for name in ("lstm", "gru", "rnn")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_run_is_left_out_and_the_others_are_shown(serve, paths, damage, clock):
    DAMAGES[damage](paths[1])
    client = serve(served=Runs(paths, clock=clock))
    answer = client.get("/api/runs").json()
    assert [run["name"] for run in answer["runs"]] == ["lstm", "rnn"]
    assert answer["broken"] == ["gru"]
    assert ask(client, "read", run="rnn", text="All")["pieces"] == ["A", "l", "l"]
    assert ask(client, "read", 404, run="gru", text="All")["error"]["code"] == "run"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "damage", [name for name in DAMAGES if name not in ("no run", "no folder")]
)
def test_a_run_that_breaks_while_it_is_shown_stays_as_it_was(serve, paths, damage, clock):
    client = serve(served=Runs(paths, clock=clock))
    before = client.get("/api/runs").json()
    DAMAGES[damage](paths[1])
    if (paths[1] / "weights.safetensors").exists():
        os.utime(paths[1] / "weights.safetensors")
    clock.now += 10
    assert client.get("/api/runs").json() == before
    for run in ("gru", "rnn"):
        assert ask(client, "read", run=run, text="All")["pieces"] == ["A", "l", "l"]


def test_a_run_is_shown_once_it_can_be_read(serve, paths, clock):
    weights = paths[1] / "weights.safetensors"
    aside = weights.rename(weights.with_name("aside"))
    client = serve(served=Runs(paths, clock=clock))
    aside.rename(weights)
    assert client.get("/api/runs").json()["broken"] == ["gru"]
    clock.now += 10
    answer = client.get("/api/runs").json()
    assert [run["name"] for run in answer["runs"]] == ["lstm", "gru", "rnn"]
    assert answer["broken"] == []
    assert ask(client, "read", run="gru", text="All")["pieces"] == ["A", "l", "l"]


def test_where_no_run_can_be_read_the_first_one_says_why(paths):
    for path in paths:
        shutil.rmtree(path)
    with pytest.raises(RunError, match="lstm"):
        Runs(paths)


def test_whoever_serves_is_told_what_is_left_out(paths, monkeypatch):
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    shutil.rmtree(paths[1])
    told, noted = [], []
    options = {"host": "127.0.0.1", "port": 0, "token": None}
    serve_runs(paths, say=told.append, note=noted.append, **options)
    assert len(told) == 1
    assert len(noted) == 1
    assert str(paths[1]) in noted[0]


def test_a_folder_whose_name_is_not_utf8_can_be_told(serve, paths, tmp_path):
    path = paths[0].rename(tmp_path / os.fsdecode(b"caf\xe9"))
    answer = serve(served=Runs([path, paths[1]])).get("/api/runs")
    assert answer.status_code == 200
    names = [run["name"] for run in answer.json()["runs"]] + answer.json()["broken"]
    assert sorted(names) == ["caf\ufffd", "gru"]
