"""What if, and what a prediction is made of, on the page: the library's numbers, by keys too."""

import re

import pytest
import torch

from support.page import until, wait_for_place
from unrolled import Hold, intervene
from unrolled.data import Source
from unrolled.inspection import attribute
from unrolled.tasks import load

TEXT = "Before we proceed any further, hear me speak."
LISTS = """() => Object.fromEntries(["free", "held"].map((name) => [name,
    [...document.querySelectorAll(`.holding .${name} .candidate`)].map((row) => [
        row.querySelector(".candidate-token").textContent,
        row.querySelector(".candidate-share").textContent])]))"""


def shares(loaded, at, holds):
    """What is expected after a token, the likeliest first, in per cent as the page writes them."""
    model, tokens = loaded.model, loaded.task.vocabulary.encode(TEXT)[None]
    with torch.no_grad(), intervene(model, holds):
        p = model(tokens)[0][0, at].double().softmax(-1)
    return [100 * each for each in p.sort(descending=True).values[:6].tolist()]


def told(page, name):
    texts = (share for _, share in page.evaluate(LISTS)[name])
    return [float(re.search(r"[0-9]+(?:[.,][0-9]+)?", each)[0].replace(",", ".")) for each in texts]


@pytest.mark.parametrize(("width", "language"), [(1280, "en-GB"), (390, "pt-BR")])
def test_a_gate_is_held_and_let_go_by_keys(open_page, small_runs, width, language):
    loaded = load(small_runs["lstm"])
    page = open_page(
        view="step", run="lstm", text=TEXT, position=12, width=width, language=language
    )
    wait_for_place(page, 12)
    assert page.locator(".held-results").is_hidden()
    page.locator("#hold-name").select_option("f")
    page.locator("#hold-value").fill("0")
    page.keyboard.press("Enter")
    page.locator(".held-results").wait_for()
    assert told(page, "free") == pytest.approx(shares(loaded, 12, {}), abs=0.06)
    assert told(page, "held") == pytest.approx(shares(loaded, 12, {"f": 0.0}), abs=0.06)
    page.locator("#hold-name").select_option("c")
    page.locator("#hold-units").fill("1, 3-4")
    page.locator("#hold-steps").select_option("from")
    page.locator("#hold-steps").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the button
    until(page, "() => document.querySelectorAll('.holds li').length === 2")
    both = {"f": 0.0, "c": Hold(0.0, units=[1, 3, 4], steps=slice(12, None))}
    expected = shares(loaded, 12, both)
    until(
        page,
        """(first) => {
            const share = document.querySelector(".holding .held .candidate-share");
            return Math.abs(parseFloat(share.textContent.replace(/[^0-9.,]/g, "").replace(",", "."))
                - first) < 0.06;
        }""",
        expected[0],
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for left in (1, 0):
        page.locator(".holds button").first.focus()
        page.keyboard.press("Enter")
        until(page, f"() => document.querySelectorAll('.holds li').length === {left}")
    until(page, "() => document.querySelector('.held-results').hidden")


def test_units_that_mean_nothing_are_refused(open_page):
    page = open_page(view="step", run="lstm", text=TEXT)
    wait_for_place(page, len(TEXT) - 1)
    for wrong in ("x", "5-3", "9999", "1.5"):
        page.locator("#hold-units").fill(wrong)
        page.locator("#hold-units").press("Enter")
        page.locator("#notice", has_text="Units are numbers from 0 to").wait_for()
    assert not page.locator(".holds li").count()


def test_a_prediction_is_explained_on_the_text(open_page, small_runs):
    loaded = load(small_runs["gru"])
    subject = loaded.task.subject(loaded.model)
    passage = next(iter(subject.read(Source.text(TEXT))))
    page = open_page(view="step", run="gru", text=TEXT, position=9)
    wait_for_place(page, 9)
    page.locator(".explaining summary").press("Enter")
    for method in ("integrated", "leave-one-out"):
        page.locator("#explain-method").select_option(method)
        values = attribute(subject, passage, step=9, method=method).values
        ends = [f"= {value:.3f}".rstrip("0") for value in values[8:10].tolist()]
        script = """(ends) => ends.every((end, k) => {
            const token = document.querySelectorAll(".explaining .token")[8 + k];
            const wanted = parseFloat(end.slice(2));
            return Math.abs(parseFloat(token?.title.split("=").at(-1).replace("−", "-")) - wanted)
                < 0.002;
        })"""
        until(page, script, ends)
    later = page.locator(".explaining .token").nth(20)
    assert later.get_attribute("title") == TEXT[20]  # it has come later, and has no value
