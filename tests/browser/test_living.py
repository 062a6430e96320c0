"""A mailed report in a real Chromium, with the network off: its figures, and the model in it."""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import torch

from support.living import bare_file, file_of, loaded_run
from support.page import shown, until
from unrolled import generate, trace
from unrolled.cli.main import main
from unrolled.data import Source
from unrolled.inspection import gradient_reach
from unrolled.serving import living
from unrolled.tasks import Loaded

TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n"
UNIT = 5


@pytest.fixture(scope="module")
def token_runs(make_run, tmp_path_factory) -> dict[str, Path]:
    """Language models by their tokens."""
    folder = tmp_path_factory.mktemp("tokens")
    (folder / "text.txt").write_text(TEXT * 40 + "né 日本\n" * 20, encoding="utf-8")
    data = {"files": (str(folder / "text.txt"),)}
    return {
        kind: make_run("lm", {**data, "tokens": kind}, folder / kind)
        for kind in ("byte", "bpe", "word")
    }


@pytest.fixture(scope="module")
def files(
    small_runs, own_runs, token_runs, tmp_path_factory
) -> Callable[[str], tuple[Loaded, Path]]:
    """The run and the file of a name, made once; that of "lstm" alone has all of a report."""
    folder, made = tmp_path_factory.mktemp("files"), {}

    def find(name: str) -> tuple[Loaded, Path]:
        if name not in made:
            loaded = loaded_run((small_runs | own_runs | token_runs)[name])
            path = folder / f"{name}.html"
            page = file_of(loaded, text=TEXT * 8)[0] if name == "lstm" else bare_file(loaded)
            path.write_text(page, encoding="utf-8")
            made[name] = loaded, path
        return made[name]

    return find


@pytest.fixture
def open_file(pages) -> Iterator[Callable[..., Any]]:
    """Open a file without a network; nothing may be asked for or complained about."""
    complaints = []

    def open_it(path: Path, width=1280, theme="light", before="", **given: Any) -> Any:
        def look_at(request):
            if not request.url.startswith((f"file://{path}", "data:")):
                complaints.append(f"asked for {request.url}")

        listeners = {
            "console": lambda message: complaints.append(message.text),
            "pageerror": lambda error: complaints.append(str(error)),
            "request": look_at,
        }
        page = pages.borrow(width, 860, theme, listeners, before, offline=True)
        page.goto(f"file://{path}#{urlencode(given)}")
        page.locator("#tabs > *").first.wait_for()  # the report stands there before the page begins
        return page

    yield open_it
    pages.give_back(lambda: complaints == [])
    assert complaints == []


@pytest.mark.parametrize("width", [1280, 390])
def test_every_figure_of_the_report_is_drawn_and_nothing_sticks_out(open_file, files, width):
    inks = []
    for theme in ("light", "dark"):
        page = open_file(files("lstm")[1], width, theme)
        assert page.locator("[data-view=report]").first.is_visible()
        places = page.locator(".drawn")
        assert places.count() >= 8
        for place in places.all():
            place.scroll_into_view_if_needed()  # figures are drawn when seen
            place.locator(".plotted").wait_for()
        assert not re.search("NaN|undefined|Infinity", page.locator("#report").inner_html())
        assert page.evaluate("document.documentElement.scrollWidth") == width
        tick = "getComputedStyle(document.querySelector('.plotted .tick')).fill"
        inks.append((page.evaluate(tick), page.evaluate("getComputedStyle(document.body).color")))
    assert all(light != dark for light, dark in zip(*inks, strict=True))


def test_what_a_figure_shows_is_told_beneath_the_pointer(open_file, files):
    page = open_file(files("lstm")[1])
    place = page.locator(".drawn").first
    place.locator(".plotted").wait_for()
    place.scroll_into_view_if_needed()
    box = place.locator(".plotted").bounding_box()
    line = place.locator(".plotted path[stroke]").first.get_attribute("d")
    x, y = map(float, re.search(r"M([\d.]+) ([\d.]+)", line).groups())
    page.mouse.move(box["x"] + x + 1, box["y"] + y)
    tip = page.locator(".figure-tip").inner_text()
    assert tip.startswith("0 characters back: 1.00e+0")


def test_each_point_where_a_layer_stands_still_has_a_sign_and_is_told(
    open_file, small_runs, tmp_path
):
    path = tmp_path / "report.html"
    arguments = ["inspect", small_runs["gru"], "--dynamics", "--text", TEXT * 3, "--output", path]
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    assert not ended.value.code
    page = open_file(path)
    for each in page.locator(".drawn").all():
        each.scroll_into_view_if_needed()  # figures are drawn when seen
        each.locator(".plotted").wait_for()
    place = page.locator(".drawn", has_text="first direction")
    signs = place.locator(".plotted path[transform]")
    assert signs.count() > 10  # states that are visited, and points
    assert all(sign.get_attribute("d") for sign in signs.all())
    signs.last.scroll_into_view_if_needed()
    box = signs.last.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    told = page.locator(".figure-tip").inner_text()
    assert re.match(r"speed \S+, growing directions: \d+", told)


@pytest.mark.parametrize("name", ["lstm", "gru", "deep", "rnn", "squared", "before"])
def test_the_numbers_are_those_of_python(open_file, files, name):
    loaded, path = files(name)
    page = open_file(path, view="unroll", text=TEXT, unit=UNIT)
    until(page, "document.querySelectorAll('path.back[data-lag]').length > 3")
    tokens = loaded.task.vocabulary.encode(TEXT)
    subject = loaded.task.subject(loaded.model)
    records = trace(loaded.model, tokens[None])
    numbers = page.locator(".state-number").all()
    assert len(numbers) > 5 * len(records)
    for number in numbers:
        layer, at = (int(number.get_attribute(f"data-{key}")) for key in ("layer", "at"))
        value = records[layer].values[number.get_attribute("data-name")][at, 0, UNIT].item()
        assert page_number(number.text_content()) == pytest.approx(value, abs=0.00501)
    passage = subject.passage(TEXT)
    reach = gradient_reach(
        subject.layer, passage.features[None], loss=subject.loss(None), max_lag=40
    )
    carrier = subject.recurrent.cell.carrier
    shares = page.eval_on_selector_all(
        "path.back[data-lag]", "all => all.map((one) => [one.dataset.lag, one.dataset.share])"
    )
    layers = len(records)
    of_layer = len(shares) // layers
    for k, (lag, share) in enumerate(shares):
        expected = reach.relative()[carrier][k // of_layer][int(lag)].item()
        assert float(share) == pytest.approx(expected, rel=1e-3, abs=1e-9)


ENGINES = {
    "": "WebAssembly computes it.",
    "WebAssembly.validate = () => false": "without vectors",
    "delete window.WebAssembly": "JavaScript computes it",
}


@pytest.mark.parametrize("before", ENGINES)
def test_a_browser_that_has_less_shows_the_same_and_says_so(open_file, files, before):
    page = open_file(files("lstm")[1], before=before, view="unroll", text=TEXT, unit=UNIT)
    page.wait_for_selector(".state-number")
    (record,) = trace(files("lstm")[0].model, files("lstm")[0].task.vocabulary.encode(TEXT)[None])
    for number in page.locator(".state-number").all():
        value = record.values["c"][int(number.get_attribute("data-at")), 0, UNIT].item()
        assert page_number(number.text_content()) == pytest.approx(value, abs=0.00501)
    assert ENGINES[before] in page.locator("#facts").inner_text()


def test_a_cell_that_has_no_module_is_computed_by_its_graph(open_file, files):
    page = open_file(files("squared")[1], view="write")
    assert "JavaScript computes it" in page.locator("#facts").inner_text()


@pytest.mark.parametrize("name", ["byte", "bpe", "word"])
def test_texts_are_cut_into_the_tokens_of_the_run(open_file, files, name):
    loaded, path = files(name)
    text = "hear né 日, speak"
    page = open_file(path, view="write", text=text)
    page.wait_for_selector(".mirror [data-at]")
    passage = loaded.task.subject(loaded.model).passage(text)
    until(page, "n => document.querySelectorAll('.mirror [data-at]').length === n", len(passage))
    pieces = page.eval_on_selector_all(".mirror [data-at]", "all => all.map((e) => e.textContent)")
    assert tuple(pieces) == passage.pieces
    page.fill("#length", "12")
    page.evaluate("""() => { const range = document.querySelector("#temperature");
        range.value = "0"; range.dispatchEvent(new Event("input")) }""")
    page.get_by_role("button", name="Write on").click()
    written = generate(loaded.model, loaded.task.vocabulary, text, length=12, temperature=0)
    until(page, "v => document.querySelector('#text').value === v", text + "".join(written))


def page_number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-"))


def test_a_text_is_read_as_it_is_typed_and_the_model_writes_on(open_file, files):
    loaded, path = files("lstm")
    page = open_file(path, view="write", signal="f", unit=UNIT, text="")
    page.fill("#text", "")
    page.type("#text", "hear me")
    (record,) = trace(loaded.model, loaded.task.vocabulary.encode("hear me")[None])
    value = shown(record.values["f"][-1, 0, UNIT].item(), 3)
    until(page, "v => document.querySelector('#readout').textContent.includes(`f = ${v}`)", value)
    scores = loaded.model(loaded.task.vocabulary.encode("hear me")[None])[0][0, -1]
    best = scores.softmax(0).max().item()
    share = page.locator(".candidate-share").first.inner_text()
    assert share.startswith(shown(100 * best, 1))
    page.fill("#length", "30")
    page.evaluate("""() => { const range = document.querySelector("#temperature");
        range.value = "0"; range.dispatchEvent(new Event("input")) }""")
    page.get_by_role("button", name="Write on").click()
    expected = "".join(
        generate(loaded.model, loaded.task.vocabulary, "hear me", length=30, temperature=0)
    )
    until(page, "v => document.querySelector('#text').value === v", f"hear me{expected}")


def test_a_text_that_is_drawn_with_a_seed_is_drawn_again(open_file, files):
    page = open_file(files("gru")[1], view="write")
    texts = []
    for _ in range(2):
        page.fill("#text", "hear")
        page.fill("#length", "40")
        page.fill("#seed", "7")
        page.get_by_role("button", name="Write on").click()
        until(page, "document.querySelector('#text').value.length === 44")
        page.wait_for_selector("button.primary:has-text('Write on')")
        texts.append(page.input_value("#text"))
    assert texts[0] == texts[1]


def test_what_the_model_never_saw_is_said_and_marked(open_file, files):
    page = open_file(files("lstm")[1], view="write")
    page.fill("#text", "hear <img src=x onerror=alert(1)> é")
    assert "é" in page.wait_for_selector("#notice:has-text('never seen')").inner_text()
    assert page.locator(".mirror .unknown").count() > 3
    assert page.locator("#view img").count() == 0


def test_each_view_can_be_had_by_its_key_and_in_both_languages(open_file, files):
    page = open_file(files("lstm")[1])
    page.locator("body").click(position={"x": 5, "y": 5})
    for key, view in enumerate(("report", "write", "step", "unroll", "gradient"), 1):
        page.keyboard.press("Escape")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press(str(key))
        until(page, "v => document.querySelector('#view').dataset.view === v", view)
    assert page.locator(".said-verdict").count() == 1
    page.select_option("#language", "pt-BR")
    until(page, "document.documentElement.lang === 'pt-BR'")
    assert "O modelo está neste arquivo" in page.locator("#facts").inner_text()


def test_weights_of_bytes_are_those_that_the_page_computes_with(open_file, tmp_path, small_runs):
    loaded = loaded_run(small_runs["lstm"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(living, "MOST_BYTES", len(bare_file(loaded).encode()) - 9000)
        content = bare_file(loaded)
    path = tmp_path / "bytes.html"
    path.write_text(content, encoding="utf-8")
    layer = loaded.model.layer
    with torch.no_grad():
        for weight in (layer.weight_ih_l0, layer.weight_hh_l0):
            scale = weight.abs().amax(1, keepdim=True) / 127
            weight.copy_((weight / scale).round() * scale)
    (record,) = trace(loaded.model, loaded.task.vocabulary.encode(TEXT)[None])
    page = open_file(path, view="unroll", text=TEXT, unit=UNIT)
    page.wait_for_selector(".state-number")
    assert "8 bits" in page.locator("#facts").inner_text()
    for number in page.locator(".state-number").all():
        value = record.values["c"][int(number.get_attribute("data-at")), 0, UNIT].item()
        assert page_number(number.text_content()) == pytest.approx(value, abs=0.00501)


def test_weights_that_are_no_numbers_are_said(open_file, tmp_path, small_runs):
    loaded = loaded_run(small_runs["lstm"])
    with torch.no_grad():
        loaded.model.layer.weight_hh_l0[:] = math.nan
    path = tmp_path / "nan.html"
    path.write_text(bare_file(loaded), encoding="utf-8")
    page = open_file(path, view="step", text=TEXT)
    page.wait_for_selector("#notice:has-text('diverged')")


def test_a_file_without_its_model_is_its_report_and_says_why(open_file, files):
    page = open_file(files("tcn")[1], view="write")
    assert page.locator(".tab").all_inner_texts() == ["Report"]
    assert "not in this file" in page.locator("#facts").inner_text()


WHOLE = {"classifier": "zero five is", "tagger": "one two is four"}


@pytest.mark.parametrize("name", WHOLE)
def test_a_text_that_is_read_as_a_whole_is_answered(open_file, task_runs, tmp_path, name):
    loaded, text = loaded_run(task_runs[name]), WHOLE[name]
    path = tmp_path / "whole.html"
    path.write_text(bare_file(loaded), encoding="utf-8")
    page = open_file(path, 390, view="read", text="zero")
    page.set_default_timeout(20_000)
    page.fill("#input", text)
    task = loaded.task
    (told,) = task.predict(loaded.model, Source.text(text), task.option_classes.predict())
    if name == "classifier":
        words = "[...document.querySelectorAll('.answer .word-token')].map((e) => e.textContent)"
        until(page, f"v => {words}.join(' ') === v", text)
        assert page.locator(".answer .figure strong").inner_text() == told["class"]
        share = page.locator(".answer .candidate-share").first.inner_text()
        assert share.startswith(shown(100 * told["probability"], 1))
    else:
        tags = "[...document.querySelectorAll('.filled-tag')].map((tag) => tag.textContent)"
        until(page, f"v => {tags}.join(' ') === v", " ".join(told["tags"]))
    assert page.locator("a[href*=lecture]").count() == 0
    for key in "543":
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press(key)
    page.locator("#hold-name").select_option("f")
    page.get_by_role("button", name="Hold", exact=True).click()
    page.locator(".held-results .held .candidate").first.wait_for()
    assert page.locator(".explaining").is_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.go_back()
    page.locator("path.back[data-lag]").first.wait_for(state="attached")


FORECAST = "[...document.querySelectorAll('.forecast tbody td')].map((e) => e.textContent)"


def test_a_series_that_is_typed_is_forecast_with_its_gates(open_file, task_runs, tmp_path):
    loaded = loaded_run(task_runs["forecaster"])
    path = tmp_path / "forecast.html"
    path.write_text(bare_file(loaded), encoding="utf-8")
    page = open_file(path, 390, "dark", view="read")
    page.set_default_timeout(20_000)
    page.locator(".forecast summary").click()
    page.locator(".forecast select").select_option(label="cost")
    before = page.evaluate(FORECAST)
    typed = "1,2,30,4,?:40,50,46,?,80"  # the table stays open, at the target that was chosen
    page.fill("#input", typed)
    until(page, f"before => `${{{FORECAST}}}` !== `${{before}}`", before, 20)
    task = loaded.task
    (told,) = task.predict(loaded.model, Source.text(typed), task.option_classes.predict())
    for target in ("cost", "sales"):
        page.locator(".forecast select").select_option(label=target)
        numbers = [page_number(text) for text in page.locator(".forecast td").all_inner_texts()]
        steps = zip(*(told[key][target] for key in ("forecast", "low", "high")), strict=True)
        assert numbers == pytest.approx([number for step in steps for number in step], abs=0.0051)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("4")
    page.locator(".state-number").first.wait_for()
    passage = task.subject(loaded.model).passage(next(iter(task.ends(Source.text(typed)))))
    (record,) = trace(loaded.model.layer, passage.features[None])
    memory = record.values[loaded.model.layer.cell.carrier]
    columns = page.locator(".state-number").all()
    assert len(columns) > 1
    for number in columns:
        value = memory[int(number.get_attribute("data-at")), 0, 0].item()
        assert page_number(number.text_content()) == pytest.approx(value, abs=0.00501)
    days = page.locator(".unrolled-figure .glyph").all_text_contents()
    assert [day[-2:] for day in days] == [piece[-2:] for piece in passage.pieces[-len(days) :]]
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.keyboard.press("3")
    page.locator(".operation .n").first.wait_for()
    assert page.locator(".holding").count() == 0  # which compares shares, and here are none
    page.keyboard.press("2")
    page.fill("#input", "1,2:3,4")
    page.wait_for_selector("#notice:has-text('looks at 5 steps, and there are 2')")
