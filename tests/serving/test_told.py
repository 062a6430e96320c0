"""What the server does not read of a text, and how it tells what it does not answer."""

import json
import shutil
from string import Formatter

import pytest

from support.asking import ask, post, written
from unrolled.languages import language_names, load_words
from unrolled.serving.runs import Runs

TEXT = "All the world"
VIEWS = {
    "read": {},
    "unit": {},
    "map": {"name": "h", "stop": 5},
    "rank": {"name": "h"},
    "gradient": {"position": 3},
}


@pytest.mark.parametrize(("path", "more"), VIEWS.items(), ids=VIEWS)
@pytest.mark.parametrize("unknown", ["é", "日", "\U0001f44d", "\ud800"])
def test_one_character_that_was_never_seen_stops_no_view(client, path, more, unknown):
    text = f"{TEXT[:4]}{unknown}{TEXT[4:]}{unknown}"
    with_unknown = ask(client, path, run="lstm", text=text, **more)
    without = ask(client, path, run="lstm", text=TEXT, **more)
    if path == "read":
        shown = "\ufffd" if unknown == "\ud800" else unknown
        assert with_unknown.pop("unknown") == [shown]
        assert without.pop("unknown") == []
    assert with_unknown == without


@pytest.mark.parametrize(
    ("position", "code", "values"),
    [(99, "position", {"most": 3, "got": 99}), (0, "nothing_before", {})],
)
def test_where_a_gradient_cannot_be_followed_from_has_a_code(client, position, code, values):
    error = ask(client, "gradient", 422, run="lstm", text="All", position=position)["error"]
    assert (error["code"], error["values"]) == (code, values)


def test_every_different_unknown_character_is_named_once(client):
    answer = ask(client, "read", run="lstm", text="日A本日")
    assert (answer["pieces"], answer["unknown"]) == (["A"], ["日", "本"])


@pytest.mark.parametrize(("path", "more"), VIEWS.items(), ids=VIEWS)
def test_of_a_text_that_is_too_long_the_beginning_is_read(client, path, more):
    text = "Before we proceed any further, hear me speak. " * 100
    assert len(text) > 4000
    long = ask(client, path, run="lstm", text=text, **more)
    short = ask(client, path, run="lstm", text=text[:4000], **more)
    if path == "read":
        assert (long.pop("left_out"), short.pop("left_out")) == (600, 0)
        assert len(long["pieces"]) == 4000
    assert long == short


def test_a_text_of_20000_characters_is_read(client):
    answer = ask(client, "read", run="lstm", text="To be or not to be. " * 1000)
    assert answer["left_out"] == 16_000


def test_a_text_goes_on_from_its_end_however_long_it_is(client):
    asked = {"run": "lstm", "length": 30, "seed": 1}
    text = "".join(f"{'All the world'[i % 13]}" for i in range(5000))
    whole = written(client, text=text + "é", **asked)
    end = written(client, text=text[-3999:], **asked)
    assert "".join(line.get("text", "") for line in whole) == "".join(
        line.get("text", "") for line in end
    )
    assert whole[-1] == {"done": True, "seed": 1, "unknown": ["é"], "left_out": 1001}


@pytest.mark.parametrize("language", ["en", "pt-BR", "pt", "de", ""])
def test_an_error_is_told_in_the_visitors_language_with_its_values(client, language):
    question = {"run": "lstm", "text": "A", "unit": 5000}
    answer = client.post(
        "/api/unit", json=question, headers={"Accept-Language": language} if language else {}
    )
    error = answer.json()["error"]
    assert (error["code"], error["values"]) == ("unit", {"most": 23, "got": 5000})
    portuguese = language.startswith("pt")
    assert ("unidade" in error["message"]) == portuguese
    assert ("5.000" if portuguese else "5,000") in error["message"]
    assert answer.headers["content-language"] == ("pt-BR" if portuguese else "en")


def test_a_page_can_say_every_error_by_its_code_and_values(client):
    """What the server says is what the words of /api/words say with the values in their places."""
    for path, question in (
        ("read", {"run": "nobody", "text": "A"}),
        ("read", {"run": "lstm", "text": "A", "position": 7}),
        ("map", {"run": "lstm", "text": "A", "name": "h", "start": 3, "stop": 2}),
        ("caption", {"run": "lstm", "data": ""}),
        ("read", {"run": "lstm"}),
        ("generate", {"run": "lstm", "text": "A", "length": 4001}),
    ):
        for language in language_names():
            headers = {"Accept-Language": language}
            error = client.post(f"/api/{path}", json=question, headers=headers).json()["error"]
            words = load_words(language)["errors"][error["code"]]["message"]
            places = {name for _, name, _, _ in Formatter().parse(words) if name}
            assert places <= error["values"].keys()
            for fixed, _, _, _ in Formatter().parse(words):
                assert fixed in error["message"]


@pytest.mark.parametrize("value", ["x", [1], {}, None])
def test_an_option_of_another_type_is_told_in_one_sentence(client, value):
    question = {"run": "lstm", "text": "A", "options": {"length_penalty": value}}
    error = post(client, "predict", question).json()["error"]
    assert error["message"].endswith("options.length_penalty: a number, true or false is expected")


def test_a_run_whose_folder_is_gone_is_listed_no_more_until_it_is_back(
    serve, small_runs, tmp_path, clock
):
    for name in ("lstm", "gru"):
        shutil.copytree(small_runs[name], tmp_path / name)
    client = serve(served=Runs([tmp_path / "lstm", tmp_path / "gru"], clock=clock))

    def listed():
        clock.now += 10
        answer = client.get("/api/runs").json()
        return [run["name"] for run in answer["runs"]], answer["broken"]

    assert listed() == (["lstm", "gru"], [])
    for path in (tmp_path / "gru").iterdir():  # emptied
        path.unlink()
    assert listed() == (["lstm"], ["gru"])
    assert ask(client, "read", 404, run="gru", text="A")["error"]["code"] == "run"
    shutil.rmtree(tmp_path / "lstm")  # removed
    assert listed() == ([], ["lstm", "gru"])
    shutil.copytree(small_runs["gru"], tmp_path / "gru", dirs_exist_ok=True)
    assert listed() == (["gru"], ["lstm"])
    assert json.dumps(ask(client, "read", run="gru", text="A"))
