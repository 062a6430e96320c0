"""Runs of every task on the page: its views are offered, and each has something to show."""

import re

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
    "forecaster": "1,2,3,4,5,6:50,49,48,47,46,50",
}
PREDICTIONS = {
    "classifier": ".figure strong",
    "tagger": ".word-tag",
    "translator": ".attention td",
    "delayed": ".said-big",
    "numbers": ".figure strong",
    "forecaster": ".band",
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
        "forecaster": ["read", "step", "unroll", "gradient", "compare"],
        "sets": ["write", "step", "unroll", "gradient", "compare"],
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


def charts(page, count):
    until(page, "n => document.querySelectorAll('.time-chart').length === n", count)
    return page.locator(".time-chart")


def numbers_in(said):
    """The numbers after the time of what is read out at a step."""
    written = re.findall(r"-?\d+[.,]?\d*", plain(said).split(": ", 1)[1])
    return [float(each.replace(",", ".")) for each in written]


def without_numbers(said):
    return re.sub(r"-?\d+[.,]\d+", "#", plain(said).split(": ", 1)[1])


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_a_forecast_is_drawn_with_its_interval_and_horizon(open_page, at, task_runs, width, theme):
    loaded = load(task_runs["forecaster"])
    text = "1,2,3,4,5,?:50,49,48,47,46,50"
    options = loaded.task.option_classes.predict()
    (expected,) = loaded.task.predict(loaded.model, Source.text(text), options)
    page = open_page(at=at, run="forecaster", view="read", text=text, width=width, theme=theme)
    charts(page, 2)
    card = page.locator(".card.forecast").first
    for part in (".line.truth", ".line.said", ".band", ".horizon"):
        assert card.locator(f".chart {part}").count() == 1
    assert card.get_by_text("horizon: 3").count() == 1
    path = card.locator(".chart .line.truth").get_attribute("d")
    assert (path.count("M"), path.count("L")) == (1, 4)  # the last one is missing
    card.locator("summary").click()
    heads, *rows = card.locator(".figures tr").all()
    assert heads.inner_text().split() == ["time", "forecast", "low", "high"]
    for row, time, *numbers in zip(
        rows,
        expected["times"],
        *(expected[key]["sales"] for key in ("forecast", "low", "high")),
        strict=True,
    ):
        first, *shown = plain(row.inner_text()).split("\t")
        assert first == time
        assert [float(each) for each in shown] == pytest.approx(numbers, abs=0.06)
    card.locator("select").select_option("1")
    assert "of cost" in card.locator(".time-chart").get_attribute("aria-label")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_cursor_goes_through_a_forecast_by_keys_and_by_pointing(open_page, at):
    page = open_page(at=at, run="forecaster", view="read", text=INPUTS["forecaster"])
    chart = charts(page, 2).first
    page.wait_for_selector(".ribbon .here")
    at_end = page.locator(".ribbon .here").get_attribute("data-at")
    chart.focus()
    assert chart.get_attribute("aria-valuenow") == "6"  # the first step ahead
    page.keyboard.press("ArrowRight")
    assert chart.get_attribute("aria-valuenow") == "7"
    said = chart.get_attribute("aria-valuetext")
    assert "forecast" in said
    assert "interval" in said
    card = page.locator(".card.forecast").first
    assert card.locator(".readout").inner_text() == said
    assert card.locator(".cursor").get_attribute("visibility") == "visible"
    page.keyboard.press("Home")
    assert plain(chart.get_attribute("aria-valuetext")).startswith("-5: 1.0")
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")  # there is nothing further
    assert chart.get_attribute("aria-valuenow") == chart.get_attribute("aria-valuemax") == "8"
    assert page.locator(".ribbon .here").get_attribute("data-at") == at_end
    chart.hover(position={"x": 80, "y": 60})
    assert int(chart.get_attribute("aria-valuenow")) < 3


def test_what_would_have_been_forecast_stands_beside_what_came(open_page, at, task_runs):
    loaded = load(task_runs["forecaster"])
    subject = loaded.task.subject(loaded.model)
    first, _ = subject.backtest(loaded.held_out(1000))
    page = open_page(at=at, run="forecaster", view="read", language="pt-BR")
    chart = charts(page, 2).nth(1)
    chart.focus()
    page.keyboard.press("Home")
    own = first["forecasts"][0]
    for _ in range(own["start"]):
        page.keyboard.press("ArrowRight")
    values = [first["truth"][own["start"]], own["forecast"][0], own["low"][0], own["high"][0]]
    said = chart.get_attribute("aria-valuetext")
    assert said.startswith(f"{own['times'][0]}: ")
    assert numbers_in(said) == pytest.approx(values, abs=0.06)
    assert without_numbers(said) == "aconteceu #, previsão #, intervalo de # a #"
    assert (
        page.locator(".card.forecast").nth(1).locator(".band").count()
        == len(first["forecasts"]) + 1
    )


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("language", ["en", "pt-BR"])
def test_what_stands_beside_a_chart_is_whole(open_page, at, width, language):
    page = open_page(at=at, run="forecaster", view="read", width=width, language=language)
    charts(page, 2)
    texts = "[...document.querySelectorAll('.time-chart text')]"
    outside = f"""{texts}.filter((text) => {{
      const own = text.getBoundingClientRect();
      const box = text.closest("svg").getBoundingClientRect();
      return own.left < box.left - 1 || own.right > box.right + 1;
    }}).map((text) => text.textContent)"""
    assert page.evaluate(f"{texts}.length") > 10
    assert page.evaluate(outside) == []


def test_a_chart_has_levels_for_numbers_of_every_size(open_page, at):
    page = open_page(at=at, run="forecaster", view="read")
    charts(page, 2)
    draw = """async ([text, values]) => {
      const { forecastView } = await import("/static/forecast.js");
      const view = forecastView({ times: ["t1", "t2"], forecast: { y: values } }, text);
      const levels = [...view.querySelectorAll(".tick[text-anchor=end]")];
      const last = view.querySelector(".time-chart").getAttribute("aria-valuemax");
      return [levels.map((each) => each.textContent), last];
    }"""
    written = {}
    for low, high in [
        (1e16, 1e16 + 2),  # between which there is no other number
        (1e15, 1e15 + 2),
        (-3e38, 3e38),
        (1e-7, 1e-7),
        (-1.2, 8.1),
        (5, 5),
        (0, 4e-7),
    ]:
        text = f"{low!r},{high!r}\n7,7,7"  # of which the first line is read
        (*levels, now), last = page.evaluate(draw, [text, [low, high]])
        assert now == "now"
        assert (2 if low == 1e16 else 3) <= len(levels) == len(set(levels)) <= 8, levels
        assert last == "3"
        written[low] = levels
    assert written[0] == ["0", "1·10⁻⁷", "2·10⁻⁷", "3·10⁻⁷", "4·10⁻⁷"]
    assert written[-1.2] == ["0", "2", "4", "6", "8"]


def test_where_values_cannot_be_typed_the_forecast_is_that_of_the_data(open_page, at, task_runs):
    loaded = load(task_runs["covariates"])
    options = loaded.task.option_classes.predict()
    (expected,) = loaded.task.predict(loaded.model, loaded.task.own_source, options)
    page = open_page(at=at, run="covariates", view="read", text="1,2,3")  # typed for another run
    chart = charts(page, 2).first
    assert page.locator("#input").count() == 0
    assert page.get_by_text("columns that cannot be typed").count() == 1
    page.keyboard.press("Escape")
    chart.focus()
    page.keyboard.press("End")
    said = plain(chart.get_attribute("aria-valuetext"))
    assert said.startswith(f"{expected['time']}: forecast ")
    assert numbers_in(said) == pytest.approx([expected["forecast"]], abs=0.06)
    past = page.locator(".card.forecast").nth(1)
    assert past.locator(".chart .line.said").count() == 1  # of one step each, joined
    assert past.locator(".band").count() == 0


def test_sets_are_written_on_and_a_label_is_chosen_for_the_next_one(open_page, at):
    page = open_page(at=at, run="sets", view="write", text="1 9 | 2")
    page.wait_for_selector(".candidates .candidate")
    until(page, "document.querySelectorAll('.mirror [data-at]').length === 2")
    label = page.locator(".candidate-token").first.inner_text()
    page.locator(".candidates .candidate").first.click()
    assert page.locator("#text").input_value() == f"1 9 | 2 | {label}"
    until(page, "document.querySelectorAll('.mirror [data-at]').length === 3")
    page.fill("#length", "4")
    page.locator(".form button").click()
    until(page, "document.querySelector('#text').value.split('|').length === 7")
    until(page, "document.querySelectorAll('.mirror [data-at]').length === 7")
    for view in tabs(page)[1:]:
        page.click(f".tab[data-view={view}]")
        page.wait_for_selector(f"#view[data-view={view}] .card")
        page.wait_for_load_state("networkidle")
        assert page.locator("#notice").is_hidden(), view
        text = page.locator("#view").inner_text()
        assert "undefined" not in text
        assert "NaN" not in text


def test_sets_beyond_what_is_read_are_left_out_as_whole_ones(open_page, at):
    text = " | ".join(["1 9"] * 800)
    page = open_page(at=at, run="sets", view="write")
    page.fill("#text", text)
    page.get_by_text("Only the first 4").wait_for()
    until(page, "document.querySelectorAll('.mirror [data-at]').length > 600")
    page.fill("#length", "2")
    page.locator(".form button").click()
    until(page, "t => document.querySelector('#text').value.split('|').length === 802")
