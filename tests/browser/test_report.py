"""A report in a real Chromium: everything is drawn, nothing is asked for, nothing sticks out.

The browser runs in a process of its own: playwright allows one driver in each.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from unrolled import LanguageModel
from unrolled.data import CharVocabulary
from unrolled.inspection.report import Facts, report
from unrolled.networks import LayerOptions
from unrolled.tasks.lm.subject import LanguageSubject

LOOK = """
import json, sys
from playwright.sync_api import sync_playwright

path, chromium = sys.argv[1:]
found = []
with sync_playwright() as driver:
    browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    for width in (1280, 390):
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            said, asked = [], []
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: asked.append(request.url.partition(":")[0]))
            page.goto(f"file://{path}")
            for place in page.query_selector_all(".drawn"):
                place.evaluate("place => place.scrollIntoView()")  # figures are drawn when seen
                place.wait_for_selector(".main-svg", timeout=90_000)
            text = "document.querySelector('.xtick text')"
            found.append({
                "width": width,
                "said": said,
                "asked": sorted(set(asked)),
                "figures": len(page.query_selector_all(".drawn")),
                "drawn": len(page.query_selector_all(".drawn:has(.main-svg)")),
                "sticking_out": page.evaluate("document.documentElement.scrollWidth") - width,
                "paper": page.evaluate("getComputedStyle(document.body).backgroundColor"),
                "ink": page.evaluate(f"getComputedStyle({text}).fill"),
            })
            page.close()
    browser.close()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    pytest.importorskip("playwright", reason="the page is driven by playwright, not installed")
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    chromium = next((path for name in names if name and (path := shutil.which(name))), None)
    if chromium is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    text = "".join(f"{name}:\nO, {name.lower()}!\n\n" for name in ("ROMEO", "JULIET") * 12)
    vocabulary = CharVocabulary.from_text(text)
    options = LayerOptions(cell="lstm", hidden_size=8)
    subject = LanguageSubject(
        LanguageModel(options, vocabulary_size=len(vocabulary)).eval(), vocabulary
    )
    path = tmp_path_factory.mktemp("report") / "report.html"
    page = report(
        subject,
        lambda each: each.passages([text]),
        Facts("it", curves={"held out": [(0, 4.0), (9, 2.0)]}),
        beside={"same": subject},
    )
    path.write_text(page, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(path), chromium],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_figure_is_drawn(seen):
    assert all(page["figures"] == page["drawn"] >= 8 for page in seen)


def test_the_console_stays_empty_and_no_host_is_asked(seen):
    assert all(page["said"] == [] for page in seen)
    assert all(set(page["asked"]) <= {"file", "data", "blob"} for page in seen)


def test_nothing_sticks_out_of_a_wide_or_a_narrow_page(seen):
    assert [page["sticking_out"] for page in seen] == [0, 0, 0, 0]


def test_figures_follow_the_page_into_the_dark(seen):
    light, dark = seen[:2]
    assert light["paper"] != dark["paper"]
    assert light["ink"] != dark["ink"]
