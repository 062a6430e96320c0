"""What the page's views ask, of a run of every task: answered, or refused in words."""

import sys

import pytest
import torch

from support.asking import ask, bytes_of_map, caption, post
from unrolled.data import Source
from unrolled.errors import RunError
from unrolled.languages import language_names, load_words
from unrolled.serving.app import serve as serve_runs
from unrolled.serving.runs import Runs
from unrolled.tasks import load

INPUTS = {
    "reviews": "one two is two one is",
    "last word": "two one is one",
    "series": "1,2,3,5,2",
    "tags": "one two runs",
    "translator": "one and two",
    "convolution": "one and two",
    "delayed": "one and two",
    "captions": "",
    "symbols": "BTXS",
    "values": "0.5 0.25* 0.125* 0.75",
    "gru": "hear me speak",
}
every_run = pytest.mark.parametrize("name", INPUTS)
WITHOUT_A_CELL = {"convolution"}


@pytest.fixture
def client(tasks_client, picture):
    """A client who has given the captioner a picture."""
    assert caption(tasks_client, "captions", picture).status_code == 200
    return tasks_client


def described(client, name):
    (run,) = (run for run in client.get("/api/runs").json()["runs"] if run["name"] == name)
    return run


@pytest.fixture
def in_library(task_runs, small_runs, picture):
    """What the library has of a run's input: the subject, the passage and the records."""
    return lambda name: looked_into((task_runs | small_runs)[name], source_of(name, picture))


def source_of(name, picture):
    return Source.of_bytes(picture) if name == "captions" else Source.text(INPUTS[name])


def looked_into(path, source):
    loaded = load(path)
    subject = loaded.task.subject(loaded.model)
    (passage,) = subject.read(source)
    return subject, passage, subject.run([passage])[0]


@every_run
def test_every_run_is_read(client, name):
    run = described(client, name)
    got = ask(client, "read", run=name, text=INPUTS[name], expected=True)
    assert got["pieces"]
    assert len(got["surprise"]) == len(got["pieces"])
    if run["says"] is None:
        assert (got["expected"], got["candidates"]) == (None, [])
        return
    first = [candidate["probability"] for candidate in got["expected"]]
    assert all(0 < probability <= 1 for probability in first)
    # fewer answers than steps where they come late
    assert len(got["pieces"]) - len(first) == (1 if name == "tags" else 0)
    at_first = ask(client, "read", run=name, text=INPUTS[name], position=0)["candidates"]
    assert at_first[0] == got["expected"][0]
    assert sum(candidate["probability"] for candidate in at_first) <= 1 + 1e-6


@every_run
def test_the_signals_and_maps_of_every_part_are_those_of_the_record(client, in_library, name):
    run = described(client, name)
    _, _, records = in_library(name)
    places = [(each.layer, each.reverse, [*each.values]) for each in records]
    assert [tuple(part.values()) for part in run["parts"]] == places
    signals = [
        (part, signal, values[:, 0])
        for part, record in enumerate(records)
        for signal, values in record.values.items()
    ]
    assert {signal for _, signal, _ in signals} == {each["name"] for each in run["signals"]}
    for part, signal, expected in signals:
        question = {"run": name, "text": INPUTS[name]}
        chosen = {"part": part, "name": signal, "unit": 5}
        numbers = ask(client, "read", **question, signal=chosen)["values"]
        got = ask(client, "map", **question, part=part, name=signal, stop=400)
        assert (got["steps"], got["units"]) == expected.shape
        width = got["highest"] - got["lowest"]
        values = got["lowest"] + bytes_of_map(got, run["hidden_size"]) * width / 255
        assert numbers == pytest.approx(values[:, 5].tolist(), abs=width / 255)
        assert numbers == pytest.approx(expected[:, 5].tolist(), abs=1e-6)


@every_run
def test_every_part_has_units_or_says_that_there_is_no_cell(client, name):
    run = described(client, name)
    question = {"run": name, "text": INPUTS[name]}
    if name in WITHOUT_A_CELL:
        assert run["step"] is None
        error = ask(client, "unit", 422, **question)["error"]
        assert "no cell to step through" in error["message"]
        return
    for part, described_part in enumerate(run["parts"]):
        got = ask(client, "unit", **question, part=part, unit=5)
        assert [*got["values"]] == described_part["signals"]
        assert [*got["before"]] == run["states"]
        assert [*got["x"]] == run["gates"]
        memory, keeps = run["memory"], run["keeps"]
        if keeps and keeps != "z":  # what is kept of the memory is a value of the step's graph
            (equation,) = (e for e in run["step"]["equations"] if e["id"] == memory)
            kept = [f * c for f, c in zip(got["values"][keeps], got["before"][memory], strict=True)]
            assert got["inner"][equation["kept"]] == pytest.approx(kept, abs=1e-6)


def test_the_backward_part_reads_from_the_end(client, in_library):
    """Held against torch's own layer."""
    subject, passage, _ = in_library("reviews")
    theirs = torch.nn.LSTM(subject.input_size, 6, bidirectional=True, batch_first=True)
    theirs.load_state_dict(subject.layer.state_dict())
    with torch.no_grad():
        output = theirs(passage.features[None])[0][0]
    assert [part["reverse"] for part in described(client, "reviews")["parts"]] == [False, True]
    question = {"run": "reviews", "text": INPUTS["reviews"]}
    for unit in range(6):
        got = ask(client, "unit", **question, part=1, unit=unit)
        assert got["values"]["h"] == pytest.approx(output[:, 6 + unit].tolist(), abs=1e-5)
        for state in ("h", "c"):  # what is before a step is what comes after it in the text
            assert got["before"][state] == pytest.approx([*got["values"][state][1:], 0], abs=1e-7)


@every_run
def test_every_run_has_ranks_and_a_gradient_where_there_is_enough(client, name):
    run = described(client, name)
    question = {"run": name, "text": INPUTS[name]}
    num_steps = len(ask(client, "read", **question)["pieces"])
    for part, each in enumerate(run["parts"]):
        got = ask(client, "rank", **question, part=part, name=each["signals"][0])
        for units in got["patterns"].values():
            assert all(0 <= ranked["area"] <= 1 for ranked in units)
    answer = post(client, "gradient", question)
    if answer.status_code == 422:
        assert num_steps < 4
        assert "at least 4" in answer.json()["error"]["message"]
        return
    got = answer.json()
    lags = got["lags"]
    assert lags == list(range(len(lags)))
    assert got["measured"]["windows"] >= (2 if got["measured"]["held_out"] else 1)
    assert got["measured"]["cut"] == (64 if name == "gru" else None)
    assert got["reach"].keys() == {*run["states"], "x"}
    for layers in got["reach"].values():
        assert len(layers) == run["num_layers"]
        assert all(reach[0] == 1 and len(reach) == len(lags) for reach in layers)
    assert got["verdict"]["words"].keys() == language_names().keys()
    assert len(got["saturation"]) == (len(run["parts"]) if run["step"] else 0)
    assert bool(got["time_constants"]) == (run["keeps"] is not None)
    if (last := num_steps - 1) > 0:
        at_last = ask(client, "gradient", **question, position=last)
        assert at_last["lags"] == [*range(last + 1)]
    assert (
        "nothing before it"
        in ask(client, "gradient", 422, **question, position=0)["error"]["message"]
    )


@every_run
def test_parts_units_and_names_that_there_are_not_are_refused_of_every_run(client, name):
    question = {"run": name, "text": INPUTS[name]}
    run = described(client, name)
    num_parts, size = len(run["parts"]), run["hidden_size"]
    signal = run["parts"][0]["signals"][0]
    refused = [
        ("unit", {"part": num_parts}, "part must be in"),
        ("unit", {"unit": size}, f"unit must be in 0..{size - 1}, got {size}"),
        ("map", {"part": num_parts, "name": signal, "stop": 1}, "part must be in"),
        ("map", {"name": "zz", "stop": 1}, "no gate or state 'zz'"),
        ("map", {"name": signal, "start": 300, "stop": 301}, "a map has 1 to 400"),
        ("rank", {"part": num_parts, "name": signal}, "part must be in"),
        ("rank", {"name": "zz"}, "no gate or state 'zz'"),
        ("read", {"position": 999}, "position must be below"),
        ("read", {"signal": {"part": num_parts, "name": signal}}, "part must be in"),
        ("gradient", {"position": 999}, "position must be below"),
    ]
    for path, wrong, message in refused:
        if path == "unit" and name in WITHOUT_A_CELL:
            message = "no cell to step through"
        error = ask(client, path, 422, **question, **wrong)["error"]
        assert message in error["message"]


@every_run
@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_input_is_no_mistake_of_the_server(tasks_client, name, text):
    """Each question has an answer or is refused, also before anything has been given."""
    for path, further in (
        ("read", {"expected": True}),
        ("read", {"position": 3}),
        ("unit", {}),
        ("map", {"name": "h", "stop": 9}),
        ("rank", {"name": "h"}),
        ("gradient", {}),
        ("gradient", {"position": 1}),
        ("predict", {}),
    ):
        answer = post(tasks_client, path, {"run": name, "text": text} | further)
        assert answer.status_code in (200, 409, 422), (path, answer.text)
    for value in (float("nan"), float("inf")):  # which Python writes into JSON
        answer = post(tasks_client, "read", {"run": name, "text": text, "position": value})
        assert answer.status_code == 422
        assert answer.json()["error"]["code"] == "request"


def test_the_last_picture_is_what_a_captioner_has_read(tasks_client, picture):
    refused = ask(tasks_client, "read", 409, run="captions", text="")["error"]
    assert (refused["code"], refused["hint"]) == ("medium", "send one to /api/caption")
    assert "no picture or recording is remembered" in refused["message"]
    answer = caption(tasks_client, "captions", picture).json()
    read = ask(tasks_client, "read", run="captions", text="")
    assert read["version"] == answer["version"]
    assert read["pieces"][0] == "▸"
    assert "".join(read["pieces"][1:]).split() == answer["prediction"]["words"]
    # a broken picture changes nothing
    assert caption(tasks_client, "captions", picture[:40]).status_code == 422
    assert ask(tasks_client, "read", run="captions", text="") == read
    # and nobody else sees it
    tasks_client.headers["X-Session"] = tasks_client.post("/api/session").json()["session"]
    assert ask(tasks_client, "read", 409, run="captions", text="")["error"]["code"] == "medium"


OWN = """
import unrolled
from pathlib import Path
from torch import sigmoid, tanh

with Path({marker!r}).open("a") as file:
    file.write("run;")

@unrolled.cell(gates="k g", keeps="k")
def leaky(x, u, h):
    k = sigmoid(x.k + u.k)
    return dict(h=k * h + (1 - k) * tanh(x.g + u.g), k=k)
"""


def test_a_cell_of_somebodys_own_is_served_only_where_it_is_trusted(serve, make_run, tmp_path):
    marker, file = tmp_path / "marker", tmp_path / "mine.py"
    file.write_text(OWN.format(marker=str(marker)))
    toy = {"problem": "reber", "num_examples": 24}
    path = make_run("toy", tmp_path / "run", toy, cell=f"{file}:leaky")
    for name in [name for name in sys.modules if name.startswith("unrolled_cell_")]:
        del sys.modules[name]  # as in another process
    marker.unlink()
    with pytest.raises(RunError, match=r"its cell leaky is code, .* has not been run"):
        Runs([path])
    with pytest.raises(RunError, match=r"its cell leaky is code, .* has not been run"):
        serve_runs([path], host="127.0.0.1", port=0, token=None, say=print)
    assert not marker.exists()
    client = serve(served=Runs([path], trust_code=True))
    assert marker.read_text() == "run;"
    run = described(client, "run")
    assert (run["cell"], run["gates"], run["keeps"]) == ("leaky", ["k", "g"], "k")
    assert [(each["name"], each["kind"]) for each in run["signals"]] == [
        ("k", "keep"),
        ("h", "state"),
    ]
    formulas = [equation["formula"] for equation in run["step"]["equations"]]
    assert "k = σ(x_{k} + u_{k})" in formulas
    got = ask(client, "unit", run="run", text="BTXS", unit=2)
    assert len(got["values"]["k"]) == 4


@pytest.mark.parametrize("code", language_names())
def test_the_page_is_told_all_words_of_a_language(tasks_client, code):
    got = tasks_client.get("/api/words", params={"language": code}).json()
    assert (got["language"], got["languages"]) == (code, language_names())
    assert got["words"] == load_words(code)
    assert got["words"].keys() == load_words("en").keys()


@pytest.mark.parametrize(
    ("asked", "accepted", "code"),
    [
        (None, "", "en"),
        (None, "pt-PT,en;q=0.5", "pt-BR"),
        ("en", "pt-BR", "en"),
        ("xx", "", "en"),
        ("xx", "pt", "pt-BR"),
        ("../en", "", "en"),
        ("", "", "en"),
    ],
)
def test_an_unknown_language_gives_way_to_what_the_browser_wants(
    tasks_client, asked, accepted, code
):
    params = {} if asked is None else {"language": asked}
    headers = {"Accept-Language": accepted}
    got = tasks_client.get("/api/words", params=params, headers=headers).json()
    assert got["language"] == code
    assert got["words"] == load_words(code)


def test_a_language_of_any_length_is_not_looked_for(tasks_client):
    answer = tasks_client.get("/api/words", params={"language": "x" * 36})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "request")
