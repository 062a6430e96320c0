"""An exported page in a real Chromium, from a disk: it reads, writes, and asks for nothing."""

import re

import pytest
import torch

from unrolled.export import to_wasm
from unrolled.tasks import load


@pytest.fixture(scope="module")
def exported(tmp_path_factory, small_runs, task_runs):
    """The pages of three runs, by what they do."""
    folder = tmp_path_factory.mktemp("pages")
    runs = {"writer": small_runs["deep"], "reader": task_runs["classifier"]}
    for name, run in (runs | {"series": task_runs["series"]}).items():
        to_wasm(run, folder / name)
    return folder


@pytest.fixture(scope="module")
def seen(exported, browser):
    """What the pages show, log and ask for."""
    contexts, found = [], {"said": [], "asked": set()}

    def opened(name, said, **options):
        contexts.append(browser.new_context(**options))
        page, asked = contexts[-1].new_page(), set()
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
        if page.is_enabled("#stop"):
            page.click("#stop")
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


def test_a_page_asks_for_nothing_and_nothing_sticks_out(seen):
    assert seen["said"] == []
    assert seen["asked"] <= {"file", "data"}
    for locale in ("en-GB", "pt-BR"):
        assert seen[locale]["said"] == []
        assert seen[locale]["asked"] <= {"file", "data"}
        assert seen[locale]["sticking_out"] == 0
