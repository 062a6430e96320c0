"""Runs of every task on the page: its views are offered, and each has something to show."""

import pytest

from support.page import plain, until, wait_for_place
from unrolled.data import Source
from unrolled.tasks import load

INPUTS = {
    "classifier": "one two is three four is",
    "tagger": "one two is three four is",
    "translator": "one and two",
    "delayed": "one and two",
    "numbers": "0.5 0.25* 0.125* 0.75 0.5 0.25",
}
PREDICTIONS = {
    "classifier": ".figure strong",
    "tagger": ".word-tag",
    "translator": ".attention td",
    "delayed": ".said-big",
    "numbers": ".figure strong",
}


@pytest.fixture(scope="module")
def at(start_server, task_runs, small_runs):
    return start_server([*task_runs.values(), small_runs["lstm"], small_runs["tcn"]])


def tabs(page):
    return [tab.get_attribute("data-view") for tab in page.locator(".tab").all()]


def test_the_views_of_a_run_are_those_that_it_can_fill(open_page, at):
    expected = {
        "lstm": ["write", "step", "unroll", "gradient", "compare"],
        "tcn": ["write", "unroll", "gradient", "compare"],
        "classifier": ["read", "step", "unroll", "gradient", "compare"],
        "captioner": ["read", "step", "unroll", "gradient", "compare"],
        "numbers": ["read", "unroll", "gradient", "compare"],
    }
    page = open_page(at=at, run="lstm")
    for name, views in expected.items():
        page.select_option("#run", name)
        until(page, "name => document.querySelector('#run').value === name", name)
        assert tabs(page) == views


@pytest.mark.parametrize("name", INPUTS)
def test_every_view_of_a_run_shows_something(open_page, at, name):
    page = open_page(at=at, run=name, view="read", text=INPUTS[name])
    page.wait_for_selector(f".answer {PREDICTIONS[name]}")
    page.wait_for_selector(".ribbon .here")
    is_long = page.locator(".ribbon .token").count() > 3  # an untrained translator may say little
    for view in tabs(page)[1:]:
        page.click(f".tab[data-view={view}]")
        page.wait_for_selector(f"#view[data-view={view}] .card")
        if view == "step":
            page.wait_for_selector(".diagram .number")
        elif view == "unroll":
            page.wait_for_selector(".unrolled-figure .column-of.here")
        elif view == "gradient" and is_long:
            page.wait_for_selector(".chart .line")
        page.wait_for_load_state("networkidle")
        if is_long or view != "gradient":
            assert page.locator("#notice").is_hidden(), view
        text = page.locator("#view").inner_text()
        assert "undefined" not in text
        assert "NaN" not in text


def test_the_classifiers_answer_is_that_of_the_library(open_page, at, task_runs):
    loaded = load(task_runs["classifier"])
    options = loaded.task.option_classes.predict()
    (expected,) = loaded.task.predict(loaded.model, Source.text("three one is"), options)
    page = open_page(at=at, run="classifier", view="read", text="three one is")
    page.wait_for_selector(".answer .figure strong")
    assert page.locator(".answer .figure strong").inner_text() == expected["class"]
    page.fill("#input", "one")
    until(page, "document.querySelectorAll('.word-token').length === 1")


def test_what_a_translator_writes_is_stepped_through(open_page, at):
    page = open_page(at=at, run="translator", view="read", text="one and two")
    page.get_by_text("What the network writes").wait_for()
    page.wait_for_selector(".ribbon .here")
    first = page.locator(".ribbon .token").first.inner_text()
    page.click(".tab[data-view=step]")
    page.wait_for_selector(".diagram .number")
    page.keyboard.press("Home")
    wait_for_place(page, 0)
    assert page.locator(".ribbon .token").first.inner_text() == first


def test_a_captioner_is_given_a_picture_and_its_words_are_looked_into(open_page, at, task_runs):
    page = open_page(at=at, run="captioner", view="step")
    page.get_by_text("No picture has been given yet").wait_for()
    page.click(".tab[data-view=read]")
    page.set_input_files("#medium", task_runs["captioner"].parent / "3.png")
    page.wait_for_selector(".picture img")
    page.wait_for_selector(".ribbon .here")
    assert page.locator("#notice").is_hidden()
    words = page.locator(".ribbon .token").all_inner_texts()
    page.click(".tab[data-view=step]")
    page.wait_for_selector(".diagram .number")
    assert page.locator(".ribbon .token").all_inner_texts() == words
    page.click(".tab[data-view=unroll]")
    page.wait_for_selector(".unrolled-figure .state-number")
    page.click(".tab[data-view=read]")
    page.wait_for_selector(".picture img")  # it is still there


def test_a_session_that_has_ended_is_given_the_picture_again(open_page, at, task_runs):
    page = open_page(at=at, run="captioner", view="read")
    page.set_input_files("#medium", task_runs["captioner"].parent / "3.png")
    page.wait_for_selector(".ribbon .here")
    page.route(
        "**/api/unit",
        lambda route: route.continue_(headers=route.request.headers | {"x-session": "ended"}),
        times=1,
    )
    page.click(".tab[data-view=step]")
    page.wait_for_selector(".diagram .number")


@pytest.mark.parametrize("way", ["forwards", "backwards"])
def test_unroll_follows_the_direction_that_is_chosen(open_page, at, way):
    page = open_page(at=at, run="classifier", view="unroll", text="one two is three", position=1)
    page.select_option("#part", label=way)
    page.wait_for_selector(".state-number")
    until(page, "document.querySelectorAll('.state-number').length === " + "24"[way == "backwards"])
    assert (page.get_by_text("reads from the end").count() == 1) == (way == "backwards")
    assert plain(page.locator(".state-number").first.text_content())
