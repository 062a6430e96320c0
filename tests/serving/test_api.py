import asyncio
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import httpx2
import pytest
import torch

from support.asking import ask, bytes_of_map, post, written
from unrolled import trace
from unrolled.data import Source
from unrolled.inspection import gradient_reach
from unrolled.inspection.reading import measure
from unrolled.serving.app import create_app
from unrolled.serving.guard import Access
from unrolled.serving.limits import Limits
from unrolled.serving.runs import Runs
from unrolled.tasks import Loaded, load
from unrolled.tasks.lm import generate
from unrolled.training import save_weights

TEXT = "Before we proceed any further, hear me speak."


def recorded(loaded, text=TEXT):
    """What `trace` records of a run's first layer while its model reads a text."""
    records = trace(loaded.model, loaded.task.vocabulary.encode(text)[None])
    return records[0].values


def test_the_runs_are_described(client):
    runs = client.get("/api/runs").json()
    assert [run["name"] for run in runs["runs"]] == ["lstm", "gru", "janet", "rnn", "tcn", "deep"]
    lstm = runs["runs"][0]
    assert (lstm["gates"], lstm["states"]) == (["i", "f", "g", "o"], ["h", "c"])
    assert "B" in lstm["characters"]
    assert runs["limits"]["text_characters"] == 4000


def test_a_signal_is_what_trace_says(client, loaded):
    values = recorded(loaded["lstm"])["f"]
    question = {"run": "lstm", "text": TEXT, "signal": {"name": "f", "unit": 3}}
    got = ask(client, "read", **question)
    assert "".join(got["pieces"]) == TEXT
    assert got["values"] == pytest.approx(values[:, 0, 3].tolist(), abs=1e-7)
    question["signal"]["unit"] = None
    got = ask(client, "read", **question)
    assert got["values"] == pytest.approx(values[:, 0].mean(1).tolist(), abs=1e-7)


def test_candidates_are_the_softmax_of_the_scores(client, loaded):
    model, vocabulary = loaded["gru"].model, loaded["gru"].task.vocabulary
    got = ask(client, "read", run="gru", text=TEXT, position=4, expected=True)
    with torch.no_grad():
        p = model(vocabulary.encode(TEXT)[None])[0][0, 4].softmax(-1)
    found = {candidate["text"]: candidate["probability"] for candidate in got["candidates"]}
    assert len(found) == 12
    for text, probability in found.items():
        expected = p[vocabulary.encode(text)[0]].item()
        assert probability == pytest.approx(expected, abs=1e-6)
    assert got["expected"][4] == got["candidates"][0]


def test_nothing_is_read_of_an_empty_text(client):
    got = ask(client, "read", run="gru", text="")
    assert (got["pieces"], got["candidates"], got["position"]) == ([], [], None)


@pytest.mark.parametrize("name", ["lstm", "gru", "janet", "rnn"])
def test_the_numbers_of_a_unit_are_those_of_trace(client, loaded, name):
    traced = recorded(loaded[name])
    got = ask(client, "unit", run=name, text=TEXT, unit=5)
    assert got["values"].keys() == traced.keys()
    for gate, values in traced.items():
        assert got["values"][gate] == pytest.approx(values[:, 0, 5].tolist(), abs=1e-7)


def test_a_map_holds_all_units_to_a_step_of_its_scale(client, loaded):
    got = ask(client, "map", run="lstm", text=TEXT, name="c", start=10, stop=20)
    assert (got["start"], got["steps"], got["units"]) == (10, 10, 24)
    width = got["highest"] - got["lowest"]
    values = got["lowest"] + bytes_of_map(got, 24) * width / 255
    expected = recorded(loaded["lstm"])["c"][10:20, 0].double()
    assert (got["lowest"], got["highest"]) == (expected.min(), expected.max())
    torch.testing.assert_close(values, expected, rtol=0, atol=width / 255)


def test_text_is_written_as_generate_writes_it(client, loaded):
    model, vocabulary = loaded["janet"].model, loaded["janet"].task.vocabulary
    lines = written(client, run="janet", text="All:", length=50, temperature=0.7, seed=3)
    alone = generate(model, vocabulary, "All:", length=50, temperature=0.7, seed=3)
    assert "".join(line.get("text", "") for line in lines) == "".join(alone)
    assert lines[-1] == {"done": True, "seed": 3, "unknown": [], "left_out": 0}
    assert len(lines) > 2


def test_an_empty_text_begins_with_a_new_line_and_says_so(client):
    lines = written(client, run="lstm", text="", length=5, seed=1)
    assert lines[0] == {"prompt": "\n"}


def test_a_seed_is_told_and_gives_the_text_again(client):
    first = written(client, run="lstm", text="A", length=20)
    again = written(client, run="lstm", text="A", length=20, seed=first[-1]["seed"])
    text = ["".join(line.get("text", "") for line in lines) for lines in (first, again)]
    assert text[0] == text[1]


def test_a_session_writes_two_texts_at_a_time_however_many_it_asks_for_at_once(small_runs):
    limits = Limits(requests_per_second=1000, burst=1000)
    app = create_app(Runs([small_runs["lstm"]]), Access(None, True), limits)
    question = {"run": "lstm", "text": "A", "length": 300, "seed": 1}

    async def ask_all() -> list[int]:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            session = (await client.post("/api/session")).json()["session"]
            headers = {"X-Session": session}
            asked = [client.post("/api/generate", json=question, headers=headers) for _ in range(8)]
            statuses = [answer.status_code for answer in await asyncio.gather(*asked)]
            again = await client.post("/api/generate", json=question, headers=headers)
            return [*statuses, again.status_code]

    with ThreadPoolExecutor(1) as elsewhere:  # a browser's tests leave a loop in this thread
        *at_once, again = elsewhere.submit(lambda: asyncio.run(ask_all())).result()
    assert sorted(at_once) == [200, 200, *[409] * 6]
    assert again == 200  # what was written counts no more


def test_while_a_run_is_loaded_again_others_are_shown_the_old_one(
    small_runs, tmp_path, clock, monkeypatch
):
    path = shutil.copytree(small_runs["lstm"], tmp_path / "lstm")
    runs = Runs([path], clock=clock)
    before = runs.get("lstm")
    os.utime(path / "weights.safetensors")
    clock.now += 10
    during = []

    with ThreadPoolExecutor(1) as another:  # a visitor who comes while it is loaded

        def slow_load(*arguments, **options):
            during.append(another.submit(runs.get, "lstm").result(timeout=60))
            return load(*arguments, **options)

        monkeypatch.setattr("unrolled.serving.runs.load", slow_load)
        assert runs.get("lstm").version != before.version
    assert during == [before]


def test_the_files_of_a_run_are_looked_at_once_a_second_at_most(small_runs, clock, monkeypatch):
    runs = Runs([small_runs["lstm"]], clock=clock)
    version, looks = runs.get("lstm").version, []
    monkeypatch.setattr(
        "unrolled.serving.runs._version", lambda path: looks.append(path) or version
    )
    for seconds, expected in ((0.9, 0), (0.2, 1), (0.9, 1), (0.2, 2)):
        clock.now += seconds
        runs.get("lstm")
        assert len(looks) == expected


def test_two_visitors_do_not_see_each_others_text(serve, small_runs):
    client = serve(requests_per_second=10_000, burst=10_000)
    other = client.post("/api/session").json()["session"]
    for text in islice((TEXT[:n] for n in range(1, 40)), 39):
        mine = ask(client, "read", run="lstm", text=text)
        theirs = client.post(
            "/api/read", json={"run": "lstm", "text": text[::-1]}, headers={"X-Session": other}
        ).json()
        assert "".join(mine["pieces"]) == text
        assert "".join(theirs["pieces"]) == text[::-1]


def test_reach_is_that_of_the_forecast_at_a_place(client, loaded):
    got = ask(client, "gradient", run="lstm", text=TEXT, position=20)
    subject = loaded["lstm"].task.subject(loaded["lstm"].model)
    (passage,) = subject.read(Source.text(TEXT))
    loss = subject.loss(passage.tokens[21:22])
    reach = gradient_reach(subject.layer, passage.features[None, :21], loss=loss, max_lag=20)
    assert got["lags"] == list(range(21))
    expected = reach.relative()["c"][0].tolist()
    assert got["reach"]["c"][0] == pytest.approx(expected, rel=1e-4)
    assert set(got["saturation"][0]) == {"i", "f", "g", "o"}
    assert len(got["time_constants"][0]) == 24


@pytest.mark.parametrize("name", ["lstm", "gru", "janet", "rnn", "tcn", "deep"])
def test_every_cell_has_a_reach(client, name):
    got = ask(client, "gradient", run=name, text=TEXT)
    assert got["lags"] == list(range(161))
    assert got["measured"] == {"windows": 20, "held_out": True, "cut": 64}
    for layers in got["reach"].values():
        assert len(layers) == (2 if name in ("tcn", "deep") else 1)


@pytest.mark.parametrize("name", ["lstm", "rnn", "tcn"])
def test_a_run_has_one_verdict_whatever_is_read(client, loaded, name):
    subject = loaded[name].task.subject(loaded[name].model)
    passages = list(subject.passages(loaded[name].read().held_out))  # what a report reads
    judged = measure(subject, passages, 64).verdict
    for question in (
        *({"text": (TEXT * 3)[:length]} for length in (0, 1, 3, 12, 60, 81, 240)),
        *({"text": TEXT, "position": position} for position in (1, 2, 40)),
    ):
        got = ask(client, "gradient", run=name, **question)["verdict"]
        assert got["words"]["en"] == judged.say()._asdict()
        assert got["words"]["pt-BR"] == judged.say("pt-BR")._asdict()


def test_a_text_that_is_long_enough_is_measured_itself(client):
    text = (TEXT * 80)[:3000]
    got = ask(client, "gradient", run="rnn", text=text)
    assert got["measured"] == {"windows": 18, "held_out": False, "cut": 64}
    assert ask(client, "gradient", run="rnn", text=text, position=1500)["verdict"] == got["verdict"]


def test_a_run_whose_data_are_elsewhere_is_measured_on_what_is_read(serve, small_runs, tmp_path):
    shutil.copytree(small_runs["gru"], tmp_path / "gru")
    file = tmp_path / "gru" / "config.json"
    config = json.loads(file.read_text().replace("text.txt", "gone.txt"))
    del config["sha256"]["config.json"]
    file.write_text(json.dumps(config))
    client = serve(served=Runs([tmp_path / "gru"]))
    (run,) = client.get("/api/runs").json()["runs"]
    assert run["example"] != TEXT[: len(run["example"])]  # what the model itself writes
    error = ask(client, "gradient", 422, run="gru", text="All")["error"]
    assert (error["code"], error["values"]) == ("too_short", {"least": 4, "got": 3})
    got = ask(client, "gradient", run="gru", text=TEXT)
    assert got["measured"] == {"windows": 1, "held_out": False, "cut": None}
    assert got["lags"][-1] == len(TEXT) - 2
    assert ask(client, "gradient", run="gru", text="All", position=1)["verdict"] is None


def test_a_first_visit_finds_the_runs_own_held_out_text(client, loaded):
    for run in client.get("/api/runs").json()["runs"]:
        (text,) = loaded[run["name"]].read().held_out
        at = text.index(run["example"])
        assert text[at - 1] in " \n"
        assert at < 81
        assert 80 < len(run["example"]) <= 160


def test_nothing_lies_before_the_first_step(client):
    error = ask(client, "gradient", 422, run="gru", text="All", position=0)["error"]
    assert "nothing before it" in error["message"]


def test_what_a_tcn_cannot_show_is_said(client):
    error = ask(client, "unit", 422, run="tcn", text=TEXT)["error"]
    assert "no cell to step through" in error["message"]


BAD = [
    ("read", {"run": "nobody", "text": "A"}, 404, "run"),
    ("read", {"run": "lstm"}, 422, "request"),
    ("read", {"run": "lstm", "text": 3}, 422, "request"),
    ("read", {"run": "lstm", "text": "A", "nonsense": 1}, 422, "request"),
    ("read", {"run": "lstm", "text": "A", "position": 1}, 422, "position"),
    ("read", {"run": "lstm", "text": "A", "signal": {"name": "zz"}}, 422, "signal"),
    ("read", {"run": "lstm", "text": "A", "signal": {"name": "f", "unit": 24}}, 422, "unit"),
    ("read", {"run": "lstm", "text": "A", "signal": {"name": "f", "part": 1}}, 422, "part"),
    ("unit", {"run": "lstm", "text": "A", "unit": -1}, 422, "request"),
    ("unit", {"run": "lstm", "text": "A", "unit": 99}, 422, "unit"),
    ("unit", {"run": "lstm", "text": "A", "part": 7}, 422, "part"),
    ("map", {"run": "lstm", "text": "A", "name": "f", "start": 1, "stop": 1}, 422, "map"),
    ("map", {"run": "lstm", "text": "A" * 900, "name": "f", "stop": 900}, 422, "map"),
    ("generate", {"run": "lstm", "text": "A", "length": 4001}, 422, "length"),
    ("generate", {"run": "lstm", "text": "A", "length": 0}, 422, "request"),
    ("generate", {"run": "lstm", "text": "A", "temperature": -1}, 422, "request"),
    ("gradient", {"run": "lstm", "text": "Aaaaaa", "position": 9}, 422, "position"),
    ("rank", {"run": "lstm", "text": "Aaa", "name": "zz"}, 422, "signal"),
    ("rank", {"run": "lstm", "text": "Aaa", "name": "f", "part": 1}, 422, "part"),
    ("caption", {"run": "lstm", "data": ""}, 422, "reads_no_media"),
]


@pytest.mark.parametrize(("path", "question", "status", "code"), BAD)
def test_bad_questions_are_refused_in_words(client, path, question, status, code):
    answer = post(client, path, question)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert "Traceback" not in answer.text
    assert ask(client, "read", run="lstm", text="A")["pieces"] == ["A"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"run": NaN}', b"\xff\xfe"])
def test_what_is_no_question_is_refused(client, body):
    for path in ("read", "generate", "gradient", "unit", "map", "predict"):
        answer = client.post(
            f"/api/{path}", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in (400, 422)
        assert answer.json()["error"]["code"] in ("request", "http")


def test_an_unknown_session_is_told_apart(client):
    client.headers["X-Session"] = "somebody"
    assert ask(client, "read", 404, run="lstm", text="A")["error"]["code"] == "session"
    del client.headers["X-Session"]
    assert ask(client, "read", 422, run="lstm", text="A")["error"]["code"] == "request"


def test_a_run_that_is_trained_further_is_shown_as_it_is_now(
    serve, small_runs, tmp_path, clock, monkeypatch
):
    path = shutil.copytree(small_runs["lstm"], tmp_path / "lstm")
    runs = Runs([path], clock=clock)
    monkeypatch.setattr(Loaded, "read", None)  # the data are not read again
    client = serve(served=runs)
    before = ask(client, "read", run="lstm", text=TEXT)
    model = load(path).model
    with torch.no_grad():
        model.scores.bias += torch.arange(len(model.scores.bias))
    save_weights(path / "weights.safetensors", model)
    clock.now += 10
    after = ask(client, "read", run="lstm", text=TEXT)
    assert before["version"] != after["version"]
    assert before["surprise"] != after["surprise"]
    assert ask(client, "gradient", run="lstm", text=TEXT)["measured"]["held_out"]


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_is_being_written_is_shown_as_it_was(serve, small_runs, tmp_path, clock):
    path = shutil.copytree(small_runs["lstm"], tmp_path / "lstm")
    runs = Runs([path], clock=clock)
    client = serve(served=runs)
    before = ask(client, "read", run="lstm", text=TEXT)
    for damage in (
        lambda file: file.write_bytes(b"half of it"),
        Path.unlink,
    ):
        damage(path / "weights.safetensors")
        clock.now += 10
        assert ask(client, "read", run="lstm", text=TEXT) == before


def test_what_is_open_to_programs_is_described(client):
    paths = client.get("/api/openapi.json").json()["paths"]
    assert {"/api/runs", "/api/read", "/api/generate", "/api/gradient"} <= paths.keys()
    for path in paths.values():
        for method in path.values():
            assert method.get("description") or method.get("summary")
