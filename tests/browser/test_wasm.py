"""An exported page in a real Chromium, from a disk: it reads, writes, and asks for nothing."""

import re

import pytest
import torch

from unrolled.data.source import Source
from unrolled.export import to_wasm
from unrolled.tasks import load
from unrolled.tasks.forecast import PredictOptions


@pytest.fixture(scope="module")
def exported(tmp_path_factory, small_runs, task_runs):
    """The pages of three runs, by what they do."""
    folder = tmp_path_factory.mktemp("pages")
    runs = {"writer": small_runs["deep"], "reader": task_runs["classifier"]}
    runs |= {name: task_runs[name] for name in ("series", "forecaster")}
    for name, run in runs.items():
        to_wasm(run, folder / name)
    return folder


@pytest.fixture(scope="module")
def seen(exported, browser):
    """What the pages show, log and ask for."""
    contexts, found = [], {"said": [], "asked": set()}

    def opened(name, said, **options):
        contexts.append(browser.new_context(**options))
        page, asked = contexts[-1].new_page(), set()
        page.set_default_timeout(90_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.add(request.url.partition(":")[0]))
        if options.get("locale") == "pt-BR":  # a browser without SIMD
            page.add_init_script("WebAssembly.validate = () => false")
        page.goto(f"file://{exported / name / 'index.html'}")
        page.wait_for_selector("#go:enabled", timeout=90_000)
        return page, asked

    def read(page, text):
        page.fill("#input", text)
        page.click("#go")

    def scores_of(page):
        page.wait_for_selector("#scores td")
        rows = "rows => rows.map((row) => [...row.children].map((each) => each.textContent))"
        return page.eval_on_selector_all("#scores tr", rows)

    for locale in ("en-GB", "pt-BR"):
        said = []
        page, asked = opened("writer", said, locale=locale, viewport={"width": 390, "height": 800})
        page.fill("#temperature", "")
        read(page, "Before we ")
        page.wait_for_function("document.querySelector('#told').textContent")
        refused = page.text_content("#told")
        page.fill("#temperature", "0")
        read(page, "Before we ")
        page.wait_for_function("document.querySelector('#output').textContent.length > 60")
        page.evaluate("document.querySelector('#stop').click()")  # which may be at its end by now
        found[locale] = {
            "text": page.text_content("#output"),
            "facts": page.text_content("#facts"),
            "button": page.text_content("#go"),
            "refused": refused,
            "said": said,
            "asked": asked,
            "sticking_out": page.evaluate("document.documentElement.scrollWidth") - 390,
        }
        page.wait_for_selector("#stop:disabled")
        read(page, "Before 漢")
        page.wait_for_function("document.querySelector('#told').textContent.includes('漢')")
    for name, text, wrong in (
        ("reader", "two one is", ""),
        ("series", "7, -1\n6, 2.5\n9, 0", "7 -1 6"),
    ):
        page, asked = opened(name, found["said"])
        found["asked"] |= asked
        read(page, text)
        found[name], found[f"label of {name}"] = scores_of(page), page.text_content("#label")
        read(page, wrong)
        page.wait_for_function("document.querySelector('#told').textContent")
        found[f"told by {name}"] = page.text_content("#told")
    for locale in ("en-GB", "pt-BR"):
        size = {"width": 390, "height": 800}
        page, asked = opened("forecaster", found["said"], locale=locale, viewport=size)
        found["asked"] |= asked
        found[f"forecast in {locale}"] = forecast_on(page)
    yield found
    for context in contexts:
        context.close()


def test_a_page_writes_what_python_writes_with_vectors_and_without(seen, small_runs):
    loaded = load(small_runs["deep"])
    token, state, text = loaded.task.encode("Before we ")[None], None, ""
    with torch.inference_mode():
        for _ in range(60):
            scores, state = loaded.model(token, state)
            token = scores[:, -1:].argmax(-1)
            text += loaded.task.vocabulary.symbols(int(token))
    for locale in ("en-GB", "pt-BR"):
        assert seen[locale]["text"][:60] == text
    assert "SIMD" not in seen["en-GB"]["facts"]
    assert "Este navegador não tem SIMD" in seen["pt-BR"]["facts"]
    assert (seen["en-GB"]["button"], seen["pt-BR"]["button"]) == (
        "Go on writing",
        "Continuar o texto",
    )


def test_a_page_takes_no_temperature_for_a_temperature(seen):
    assert seen["en-GB"]["refused"] == "A temperature is a number from 0 on."
    assert seen["pt-BR"]["refused"] == "A temperatura é um número, de 0 em diante."


def test_a_page_scores_a_text_as_python_does(seen, task_runs):
    loaded = load(task_runs["classifier"])
    hold_to_model(loaded, "two one is", seen["reader"])
    assert seen["told by reader"] == "There is nothing to read yet."


def test_a_page_scores_numbers_of_the_data_as_python_does(seen, task_runs):
    loaded = load(task_runs["series"])
    assert loaded.task.encoder.scale == "both"
    hold_to_model(loaded, [[7, -1], [6, 2.5], [9, 0]], seen["series"])
    assert seen["label of series"] == "Numbers of a series, 2 at each step"
    assert seen["told by series"] == "A step is 2 numbers."


def hold_to_model(loaded, content, shown):
    read = loaded.task.encoder.encode(content)[None]
    with torch.inference_mode():
        scores = loaded.model(read, torch.tensor([3])).softmax(-1)[0]
    expected = dict(zip(loaded.task.answer.labels, scores.tolist(), strict=True))
    assert [name for name, _ in shown] == sorted(expected, key=expected.get, reverse=True)
    for name, figure in shown:
        assert float(re.sub(r" %", "", figure)) == pytest.approx(100 * expected[name], abs=0.06)


TYPED = "1,2.5,nan,3.25,9:50,?,47,46.5,48"  # of sales and of cost, as `predict` reads it
WRONG = {
    "1, 2\n3, x": "“x” is not a number here",
    "1, 2\n3": "Line 2 has 1 numbers; a step has 2: sales, cost.",
    "1, 2\n3, Infinity": "“Infinity” is not a number here",
    "1, 2\n\n3, 4\n": "A forecast looks at 5 steps, and there are 2: 3 more, please.",
    "?,?\n" * 5: "All values that a forecast looks at are missing.",
    "": "There is nothing to read yet.",
}


def forecast_on(page):
    """What a page shows of the values that it begins with, of others, and of wrong ones."""
    shown = {"begins": page.input_value("#input"), "label": page.text_content("#label")}
    shown["wide"] = page.evaluate("document.documentElement.scrollWidth")
    columns = [target.split(",") for target in TYPED.split(":")]
    page.fill(
        "#input", "7, 7\n" + "\n".join(", ".join(step) for step in zip(*columns, strict=True))
    )
    page.click("#go")
    rows = "rows => rows.map((row) => [...row.children].map((each) => each.textContent))"
    shown["rows"] = page.eval_on_selector_all("#forecast tbody tr", rows)
    shown["heads"] = page.eval_on_selector_all(
        "#forecast thead th", "all => all.map(e => e.textContent)"
    )
    shown["drawn"] = page.eval_on_selector_all(
        "#forecast path", "all => all.map(e => e.getAttribute('d'))"
    )
    shown["told"] = page.text_content("#told")
    shown["wrong"] = []
    for text in WRONG:
        page.fill("#input", text)
        page.click("#go")
        shown["wrong"].append(page.text_content("#told"))
    shown["left"] = page.locator("#forecast figure").count()
    return shown


def test_a_page_forecasts_what_predict_says_of_the_same_values(seen, task_runs):
    loaded = load(task_runs["forecaster"])
    (said,) = loaded.task.predict(loaded.model, Source.text(TYPED), PredictOptions())
    (scale,) = loaded.task.fitted.scales.values()
    expected = [
        [said[name][target][step] for name in ("forecast", "low", "high")]
        for target in ("sales", "cost")
        for step in range(3)
    ]
    shown = seen["forecast in en-GB"]
    for number, (row, numbers) in enumerate(zip(shown["rows"], expected, strict=True)):
        assert row[0] == f"+{number % 3 + 1}"
        # Half a digit of six that are shown, and float32 on the scale of the series.
        apart = {"rel": 6e-6, "abs": 2e-6 * float(scale.width[number // 3])}
        assert [float(row[n]) for n in (1, 2, -1)] == pytest.approx(numbers, **apart)
    assert shown["heads"][:3] == ["Step", "Forecast", "10 %"]
    assert shown["told"].startswith(
        "The forecast looks at the last 5 of 6 steps. Missing values: 2;"
    )
    assert all("NaN" not in path for path in shown["drawn"])
    with_commas = seen["forecast in pt-BR"]["rows"]
    assert [[each.replace(",", ".") for each in row] for row in with_commas] == shown["rows"]


def test_a_page_begins_with_the_last_values_and_says_what_is_wrong_with_others(seen, task_runs):
    shown = seen["forecast in en-GB"]
    series = load(task_runs["forecaster"]).read().training[0].series
    begins = [[float(each) for each in line.split(", ")] for line in shown["begins"].splitlines()]
    assert begins == series.values[-5:].tolist()
    assert shown["label"].startswith(
        "The last values of sales, cost, a step on each line, at least 5"
    )
    assert shown["wide"] == 390
    for told, wanted in zip(shown["wrong"], WRONG.values(), strict=True):
        assert told.startswith(wanted)
    assert shown["left"] == 0


def test_a_page_asks_for_nothing_and_nothing_sticks_out(seen):
    assert seen["said"] == []
    assert seen["asked"] <= {"file", "data"}
    for locale in ("en-GB", "pt-BR"):
        assert seen[locale]["said"] == []
        assert seen[locale]["asked"] <= {"file", "data"}
        assert seen[locale]["sticking_out"] == 0
