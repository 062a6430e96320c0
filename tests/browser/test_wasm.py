"""An exported page in a real Chromium, from a disk: it reads, writes, and asks for nothing.

The browser runs in a process of its own: playwright allows one driver in each.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch

from unrolled.export import to_wasm
from unrolled.tasks import load

LOOK = """
import json, sys
from playwright.sync_api import sync_playwright

writer, reader, series, chromium = sys.argv[1:]
found = {}
with sync_playwright() as driver:
    browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

    def opened(path, **options):
        page = browser.new_page(**options)
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url.partition(":")[0]))
        if options.get("locale") == "pt-BR":  # a browser without SIMD
            page.add_init_script("WebAssembly.validate = () => false")
        page.goto(f"file://{path}")
        page.wait_for_selector("#go:enabled", timeout=90_000)
        return page, said, asked

    def scores_of(page):
        rows = "rows => rows.map((row) => [...row.children].map((each) => each.textContent))"
        return page.eval_on_selector_all("#scores tr", rows)

    for locale in ("en-GB", "pt-BR"):
        page, said, asked = opened(writer, locale=locale, viewport={"width": 390, "height": 800})
        page.fill("#input", "Before we ")
        page.fill("#temperature", "0")
        page.click("#go")
        page.wait_for_function("document.querySelector('#output').textContent.length > 60")
        if page.is_enabled("#stop"):
            page.click("#stop")
        found[locale] = {
            "text": page.text_content("#output"),
            "facts": page.text_content("#facts"),
            "button": page.text_content("#go"),
            "said": said,
            "asked": sorted(set(asked)),
            "sticking_out": page.evaluate("document.documentElement.scrollWidth") - 390,
        }
        page.wait_for_selector("#stop:disabled")
        page.fill("#input", "Before 漢")
        page.click("#go")
        page.wait_for_function("document.querySelector('#told').textContent.includes('漢')")
    page, said, asked = opened(reader)
    page.fill("#input", "two one is")
    page.click("#go")
    page.wait_for_selector("#scores td")
    found["scores"] = scores_of(page)
    page.fill("#input", "")
    page.click("#go")
    page.wait_for_function("document.querySelector('#told').textContent")
    found["empty"], found["said"], found["asked"] = page.text_content("#told"), said, asked
    page, said, asked = opened(series)
    page.fill("#input", "7, -1\\n6, 2.5\\n9, 0")
    page.click("#go")
    page.wait_for_selector("#scores td")
    found["series"], found["label"] = scores_of(page), page.text_content("#label")
    page.fill("#input", "7 -1 6")
    page.click("#go")
    page.wait_for_function("document.querySelector('#told').textContent")
    found["no step"] = page.text_content("#told")
    found["said"] += said
    found["asked"] += asked
    browser.close()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory, small_runs, task_runs):
    folder = tmp_path_factory.mktemp("pages")
    runs = {"writer": small_runs["deep"], "reader": task_runs["classifier"]}
    for name, run in (runs | {"series": task_runs["series"]}).items():
        to_wasm(run, folder / name)
    return folder


@pytest.fixture(scope="module")
def seen(pages):
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    chromium = next((path for name in names if name and (path := shutil.which(name))), None)
    if chromium is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    paths = [str(pages / name / "index.html") for name in ("writer", "reader", "series")]
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *paths, chromium], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


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


def test_a_page_scores_a_text_as_python_does(seen, task_runs):
    loaded = load(task_runs["classifier"])
    hold_to_model(loaded, "two one is", seen["scores"])
    assert seen["empty"] == "There is nothing to read yet."


def test_a_page_scores_numbers_of_the_data_as_python_does(seen, task_runs):
    loaded = load(task_runs["series"])
    assert loaded.task.encoder.scale == "both"
    hold_to_model(loaded, [[7, -1], [6, 2.5], [9, 0]], seen["series"])
    assert seen["label"] == "Numbers of a series, 2 at each step"
    assert seen["no step"] == "A step is 2 numbers."


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
    assert set(seen["asked"]) <= {"file", "data"}
    for locale in ("en-GB", "pt-BR"):
        assert seen[locale]["said"] == []
        assert set(seen[locale]["asked"]) <= {"file", "data"}
        assert seen[locale]["sticking_out"] == 0
