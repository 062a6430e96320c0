"""Questions that no page asks: every answer is one that the API's description has, never a 500."""

import copy
import json
import math

import pytest

from support.asking import post
from support.exploring import share

TEXTS = {
    "lstm": "Before we proceed",
    "tcn": "Before we proceed",
    "reviews": "one two is",
    "series": "1,2,3",
    "tags": "one two runs",
    "translator": "one and two",
    "delayed": "one and two",
    "forecasts": "1,2,3,4",
    "symbols": "BTXS",
    "values": "0.5 0.25*",
}
QUESTIONS = {
    "read": {"signal": {"part": 0, "name": "h", "unit": 1}, "position": 1, "expected": True},
    "unit": {"part": 0, "unit": 1},
    "map": {"part": 0, "name": "h", "start": 0, "stop": 2},
    "rank": {"part": 0, "name": "h"},
    "gradient": {"position": 2},
    "generate": {"length": 3, "temperature": 1.0, "top_k": 3, "top_p": 0.5, "seed": 1},
    "predict": {"options": {}},
}
OPTIONS = ("beam", "n_best", "length_penalty", "no_repeat", "running", "candidates", "\ud800", "")
ODD = [
    *(
        "\ud800",
        "a\udfffb",
        "\ud83d",
        "\0",
        "\x1b[2J",
        "\u202e",
        "\u2028",
        "",
        " ",
        "\n",
        "a" * 5000,
    ),
    *("a\u0301" * 50, "\U0001f469\u200d\U0001f52c", "\ufeff", "\ufffe", "\ue000x\ue001", "\ue002"),
    *(math.nan, math.inf, -math.inf, 1e308, 1e-320, -0.0, -1, 0, 1, 2.5, 2**31, 2**63, 2**64),
    *(10**30, 10**400, -(10**400), True, None),
    *([], {}, [[]], {"a": {}}, ["h"], [1] * 100, {str(n): n for n in range(100)}),
]


def changed(question):
    """Yield questions with one value replaced, one left out, or one added."""
    for value in ODD:
        yield {**question, "nonsense": value}

    def walk(content, path):
        for key in content:
            yield (*path, key)
            if isinstance(content[key], dict):
                yield from walk(content[key], (*path, key))

    for path in walk(question, ()):
        for value in [*ODD, "left out"]:
            other = copy.deepcopy(question)
            inside = other
            for key in path[:-1]:
                inside = inside[key]
            if value == "left out":
                del inside[path[-1]]
            else:
                inside[path[-1]] = value
            yield other


@pytest.fixture(scope="module")
def served(served_tasks, small_runs):
    from unrolled.serving.runs import Runs

    return Runs([*served_tasks._paths.values(), small_runs["lstm"], small_runs["tcn"]])


@pytest.fixture
def client(visit, served):
    return visit(served)


@pytest.fixture(scope="module")
def described(visit, served):
    """Return the statuses that the description has of a question."""
    paths = visit(served).get("/api/openapi.json").json()["paths"]

    def statuses(path):
        return {int(status) for status in paths[f"/api/{path}"]["post"]["responses"]}

    return statuses


def held_to_the_description(answer, statuses, question):
    assert answer.status_code in statuses - {500}, (answer.status_code, question, answer.text)
    if answer.headers["content-type"] == "application/json":
        content = json.loads(answer.text, parse_constant=lambda name: pytest.fail(name))
        if answer.status_code != 200:
            assert content["error"].keys() == {"code", "message", "hint", "values"}
            assert isinstance(content["error"].pop("values"), dict)
            assert all(isinstance(value, str) for value in content["error"].values())
            assert "{" not in content["error"]["message"].replace(str(question), "")


@pytest.mark.parametrize("path", QUESTIONS)
def test_any_value_anywhere_is_answered_as_described(client, described, path):
    """Of all questions each run is asked a share; together they are asked all of them."""
    statuses = described(path)
    runs = ["lstm", *([] if path == "generate" else ["tcn", "translator", "values"])]
    for number, run in enumerate(runs):
        questions = list(changed({"run": run, "text": TEXTS[run], **QUESTIONS[path]}))
        for question in share(questions, number, len(runs)):
            answer = post(client, path, question)
            held_to_the_description(answer, statuses, question)


@pytest.mark.parametrize("path", ["predict", "caption"])
def test_any_option_of_a_prediction_is_answered_as_described(client, described, path, picture):
    """The runs that have most of the options are asked all, the others a share."""
    from base64 import b64encode

    statuses = described(path)
    data = {"data": b64encode(picture).decode()}
    others = [run for run in TEXTS if run != "translator"]
    for run in TEXTS if path == "predict" else ["captions"]:
        options = [{name: value} for name in OPTIONS for value in ODD]
        if run in others:
            options = share(options, others.index(run), len(others))
        for option in options:
            question = {"run": run, "options": option}
            question |= data if path == "caption" else {"text": TEXTS[run]}
            held_to_the_description(post(client, path, question), statuses, question)


@pytest.mark.parametrize("data", ["\ud800", "é", "A", "A===", "QQ==\n", "", "\0"])
def test_any_data_of_a_picture_are_answered_as_described(client, described, data):
    question = {"run": "captions", "data": data}
    held_to_the_description(post(client, "caption", question), described("caption"), question)


@pytest.mark.parametrize("name", ["beam", "n_best", "no_repeat", "length_penalty"])
def test_a_network_that_answers_with_a_delay_has_no_options_of_a_search(client, name):
    runs = {run["name"]: run for run in client.get("/api/runs").json()["runs"]}
    assert name in runs["translator"]["predict_options"]
    assert name not in runs["delayed"]["predict_options"]
    question = {"run": "delayed", "text": "one and two", "options": {name: 1}}
    answer = post(client, "predict", question)
    assert answer.status_code == 422
    assert f"{name} is not for" in answer.json()["error"]["message"]
    for run in runs.values():
        if run["task"] not in ("caption", "lm"):
            for each in run["predict_options"]:
                options = {each: {"running": True, "interval": 0.8}.get(each, 1)}
                question = {
                    "run": run["name"],
                    "text": TEXTS.get(run["name"], "one"),
                    "options": options,
                }
                answer = post(client, "predict", question)
                assert answer.status_code == 200 or run["name"] not in TEXTS, answer.text
