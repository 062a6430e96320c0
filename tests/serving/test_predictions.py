"""What runs of other tasks say of an input: as the command line does, and of nothing else."""

import builtins
import tempfile
from pathlib import Path

import pytest

from support.asking import ask, caption, post
from unrolled.data import Source
from unrolled.serving.runs import Runs
from unrolled.tasks import load, options_of

SECRET = "root:x:0:0:the contents of a file of the server"


def test_the_runs_say_what_they_read(tasks_client):
    runs = {run["name"]: run for run in tasks_client.get("/api/runs").json()["runs"]}
    assert {
        name: (run["task"], run["reads"], run["form"]["kind"]) for name, run in runs.items()
    } == {
        "reviews": ("classify", "text", "line"),
        "last word": ("classify", "text", "line"),
        "series": ("classify", "numbers", "series"),
        "tags": ("tag", "text", "line"),
        "translator": ("translate", "text", "line"),
        "convolution": ("translate", "text", "line"),
        "delayed": ("translate", "text", "line"),
        "captions": ("caption", "picture", "picture"),
        "kinds": ("classify", "picture", "picture"),
        "forecasts": ("forecast", "numbers", "series"),
        "symbols": ("toy", "numbers", "symbols"),
        "values": ("toy", "numbers", "values"),
        "gru": ("lm", "text", "text"),
    }
    assert runs["reviews"]["predict_options"] == ["running"]
    assert "beam" in runs["captions"]["predict_options"]
    assert [name for name, run in runs.items() if run["writes"]] == ["gru"]


INPUTS = {
    "reviews": "one two is",
    "last word": "two one is",
    "series": "1,2,3",
    "tags": "one two runs",
    "translator": "one and two",
    "convolution": "one and two",
    "delayed": "one and two",
    "forecasts": "1,2,3,4",
    "symbols": "BTXS",
    "values": "0.5 0.25* 0.125*",
    "gru": "speak",
}


@pytest.mark.parametrize(("name", "text"), INPUTS.items(), ids=INPUTS)
def test_a_run_says_what_it_says_on_the_command_line(
    tasks_client, task_runs, small_runs, name, text, tmp_path
):
    run = load((task_runs | small_runs)[name])
    (tmp_path / "text.txt").write_text(f"{text}\n")
    options = options_of(run.task.name).PredictOptions()
    source = Source.file(tmp_path / "text.txt")
    if name == "forecasts":  # whose files are tables
        source = Source.text(text)
    (expected,) = run.task.predict(run.model, source, options)
    got = ask(tasks_client, "predict", run=name, text=text)["prediction"]
    assert got == pytest.approx(expected, abs=1e-6) if name == "values" else got == expected


def test_a_classifier_tells_its_opinion_on_the_way(tasks_client):
    question = {"run": "reviews", "text": "one two is", "options": {"running": True}}
    got = ask(tasks_client, "predict", **question)["prediction"]
    assert [step["token"] for step in got["running"]] == ["one", "two", "is"]
    plain = ask(tasks_client, "predict", run="reviews", text="one two is")["prediction"]
    assert "running" not in plain


def test_a_picture_is_described(tasks_client, picture):
    answer = caption(tasks_client, "captions", picture, options={"n_best": 2})
    assert answer.status_code == 200, answer.text
    got = answer.json()["prediction"]
    assert got["media"] == "the input"
    assert len(got["alternatives"]) == 2


def test_a_picture_has_a_class_and_is_looked_into(tasks_client, picture):
    answer = caption(tasks_client, "kinds", picture)
    assert answer.status_code == 200, answer.text
    got = answer.json()["prediction"]
    assert set(got["probabilities"]) == {"a", "b"}
    session = answer.request.headers["X-Session"]
    headers = {"X-Session": session}
    read = tasks_client.post("/api/read", json={"run": "kinds", "text": ""}, headers=headers)
    assert read.status_code == 200, read.text


@pytest.fixture
def no_new_files(monkeypatch):
    """Fail wherever a file is made or opened to be written, also by a thread of the server."""
    opened = []

    def refuse(*arguments, **_):
        opened.append(arguments)
        raise AssertionError(f"a file is made: {arguments}")

    for name in ("mkstemp", "mkdtemp", "NamedTemporaryFile", "TemporaryFile", "TemporaryDirectory"):
        monkeypatch.setattr(tempfile, name, refuse)
    for name in ("write_text", "write_bytes", "mkdir", "touch"):
        monkeypatch.setattr(Path, name, refuse)
    real = builtins.open

    def open_to_read(file, mode="r", *arguments, **options):
        if set(mode) & set("wax+"):
            refuse(file, mode)
        return real(file, mode, *arguments, **options)

    monkeypatch.setattr(builtins, "open", open_to_read)
    return opened


def test_predicting_makes_no_file(tasks_client, no_new_files, picture):
    for name, text in INPUTS.items():
        ask(tasks_client, "predict", run=name, text=text)
        ask(tasks_client, "read", run=name, text=text)
    assert caption(tasks_client, "captions", picture).status_code == 200
    assert no_new_files == []


LONGEST = {
    "reviews": ("one two ", 4000),
    "tags": ("one two ", 4000),
    "translator": ("one two ", 400),  # the model's own limit
    "delayed": ("one two ", 400),
    "series": ("1,2,3", 4000),
    "symbols": ("BTXS", 4000),
    "values": ("0.5 1.5 ", 4000),
    "gru": ("speak.\nAll", 4000),
}


@pytest.mark.parametrize(("name", "text", "most"), [(n, *each) for n, each in LONGEST.items()])
def test_the_longest_text_that_may_be_given_is_read_and_predicted_from(
    tasks_client, name, text, most
):
    longest, further = (text * most)[:most], "s" if name in ("gru", "symbols") else "0"
    for question in ("predict", "read"):
        ask(tasks_client, question, run=name, text=longest)
        if (name, question) == ("gru", "read"):  # of a free text the beginning is read
            assert ask(tasks_client, "read", run=name, text=longest + further)["left_out"] == 1
            continue
        if name in ("translator", "delayed"):  # so is the beginning of a sentence
            answer = ask(tasks_client, question, run=name, text=longest + further)
            assert question == "read" or answer["prediction"]["read"] <= most
            continue
        refused = ask(tasks_client, question, 422, run=name, text=longest + further)
        assert f"at most {most:,}" in refused["error"]["message"]


def test_no_file_of_the_server_can_be_named(tasks_client, tmp_path, picture):
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    stolen = tmp_path / "stolen.png"
    stolen.write_bytes(picture)
    for path in (secret, stolen):
        answer = post(tasks_client, "predict", {"run": "captions", "text": str(path)})
        assert answer.status_code == 422
        assert "/api/caption" in answer.json()["error"]["hint"]
        answer = caption(tasks_client, "captions", f"{path}\n".encode())
        assert answer.status_code == 422
        assert "not a picture" in answer.json()["error"]["message"]
        assert SECRET not in answer.text
        for name in INPUTS:
            for question in ("predict", "read"):
                answer = post(tasks_client, question, {"run": name, "text": str(path)})
                assert answer.status_code in (200, 422), answer.text
                assert "the contents of a file" not in answer.text


def damaged(picture):
    return {
        "nothing": b"",
        "a beginning": b"GIF89a",
        "half a picture": picture[:40],
        "a recording's beginning": b"RIFF????WAVE",
        "zeros": b"\0" * 99,
        "text": b"a picture of a house",
    }


@pytest.mark.parametrize("what", damaged(b""))
def test_damaged_media_are_refused_in_words(tasks_client, picture, what):
    answer = caption(tasks_client, "captions", damaged(picture)[what])
    assert answer.status_code == 422, answer.text
    message = answer.json()["error"]["message"]
    assert message
    assert tempfile.gettempdir() not in answer.text
    assert "unrolled-" not in answer.text
    # and nothing of it is shown afterwards
    assert ask(tasks_client, "read", 409, run="captions", text="")["error"]["code"] == "medium"


UNFIT = [
    ("caption", {"run": "reviews", "data": ""}, "reads no pictures or recordings"),
    ("caption", {"run": "captions", "data": "no base64!"}, "data must be base64"),
    (
        "predict",
        {"run": "reviews", "text": "a", "options": {"beam": 3}},
        "beam is not for classify",
    ),
    ("predict", {"run": "reviews", "text": "a", "options": {"nonsense": 3}}, "nonsense is not for"),
    ("predict", {"run": "reviews", "text": "a", "options": {"running": 2.5}}, "running"),
    (
        "caption",
        {"run": "captions", "data": "", "options": {"beam": 10**6}},
        "beam must be a whole",
    ),
    (
        "caption",
        {"run": "captions", "data": "", "options": {"n_best": 33}},
        "n_best must be a whole",
    ),
    ("caption", {"run": "captions", "data": "", "options": {"beam": 2.5}}, "beam must be a whole"),
    (
        "caption",
        {"run": "captions", "data": "", "options": {"no_repeat": True}},
        "no_repeat must be a whole number in 1..32",
    ),
    ("predict", {"run": "gru", "text": "A", "options": {"candidates": 0}}, "candidates must be a"),
    ("predict", {"run": "gru", "text": ""}, "the input is empty"),
    ("predict", {"run": "reviews", "text": ""}, "the input is empty"),
    ("predict", {"run": "translator", "text": ""}, "the input is empty"),
    ("predict", {"run": "tags", "text": ""}, "the input is empty"),
    ("predict", {"run": "symbols", "text": ""}, "the input is empty"),
    ("predict", {"run": "series", "text": ""}, "the input is empty"),
    ("predict", {"run": "series", "text": "one,two"}, "no finite number"),
    ("predict", {"run": "symbols", "text": "BQ"}, "unknown symbol 'Q'"),
    ("predict", {"run": "values", "text": "0.5 nan"}, "nan is not a finite number"),
    ("predict", {"run": "values", "text": "0.5 a*"}, "not a number"),
    ("predict", {"run": "reviews", "text": "\ud800"}, "not UTF-8 text"),
    ("read", {"run": "tags", "text": "\ud800"}, "not UTF-8 text"),
]


@pytest.mark.parametrize(("path", "question", "message"), UNFIT)
def test_what_does_not_fit_is_refused(tasks_client, path, question, message):
    answer = post(tasks_client, path, question)
    assert answer.status_code == 422, answer.text
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", [name for name in INPUTS if name != "gru"])
def test_only_language_models_go_on_from_a_text(tasks_client, name):
    error = ask(tasks_client, "generate", 409, run=name, text="one")["error"]
    assert (error["code"], error["hint"]) == ("task", "ask /api/predict")


def test_pictures_may_be_larger_than_texts(serve, task_runs):
    client = serve(served=Runs([task_runs["captions"]]), body_bytes=1000, media_bytes=2000)
    assert caption(client, "captions", b"A" * 1000).status_code == 422
    assert caption(client, "captions", b"A" * 2000).status_code == 413
    assert client.post("/api/predict", content=b"A" * 1500).status_code == 413


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", "the model has not seen all of this"), ("pt-BR", "o modelo não viu tudo isso")],
)
def test_labels_that_are_not_known_are_named_with_those_that_are(
    make_run, serve, tmp_path, language, said
):
    (tmp_path / "sets.txt").write_text("".join(f"a {n % 5} | b | {n % 3}\n" for n in range(40)))
    run = make_run("multilabel", tmp_path / "run", {"file": str(tmp_path / "sets.txt")})
    client = serve(served=Runs([run]))
    client.headers["Accept-Language"] = language
    error = ask(client, "predict", 422, run="run", text="a | <b>")["error"]
    assert error["code"] == "vocabulary"
    assert error["message"].startswith(said)
    assert "labels that the model does not know: <b>" in error["message"]
    assert error["hint"] == "it knows 7: 0 1 2 ..."
