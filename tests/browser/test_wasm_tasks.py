"""Exported pages that write words or read pictures, in a real Chromium, beside what Python says."""

import re

import numpy as np
import pytest
import torch

from unrolled.data.pictures import read_picture
from unrolled.data.source import Source
from unrolled.export import to_wasm
from unrolled.tasks import forecast as of_forecasts
from unrolled.tasks import load
from unrolled.tasks.caption import options as of_captions
from unrolled.tasks.translate import options as of_translations

COMING = "1\n0\n1.5"  # of what is known in advance
SENTENCES = ["one and four", "two  and five", "zero und three", "one and " * 200]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A table of pictures with classes, which are not square, and one of another size."""
    Image = pytest.importorskip("PIL.Image", reason="pictures need pillow")
    folder, numbers = tmp_path_factory.mktemp("classes"), np.random.default_rng(0)
    rows = ["file,class"]
    for number in range(20):
        pixels = numbers.integers(0, 256, (12, 19, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{('light', 'dark')[number % 2]}")
    (folder / "classes.csv").write_text("\n".join(rows) + "\n")
    (folder / "none.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def runs(task_runs, make_run, pictures, tmp_path_factory):
    data = {"files": (f"{pictures}/classes.csv",), "media": "file", "target": "class"}
    folder = tmp_path_factory.mktemp("runs")
    seer = make_run("classify", data | {"picture_size": 16}, folder / "seer", channels=3)
    rows = [f"{n % 7 + n / 10},{50 - n % 5},{n % 3}" for n in range(30)]
    (folder / "sales.csv").write_text("\n".join(["sales,cost,promo", *rows, ""]))
    coming = [f",,{row.replace(', ', ',')}" for row in COMING.splitlines()]
    (folder / "known.csv").write_text("\n".join(["sales,cost,promo", *rows, *coming, ""]))
    columns = {"target": ("sales",), "past": ("cost",), "known": ("promo",)}
    sizes = {"horizon": 3, "lookback": 5, "held_out": 0.3, "test": 0.0}
    sales = {"file": f"{folder}/sales.csv"} | columns | sizes
    own = {"seer": seer, "sales": make_run("forecast", sales, folder / "sales", loss="quantile")}
    return {name: task_runs[name] for name in ("translator", "delayed", "captioner")} | own


@pytest.fixture(scope="module")
def seen(runs, browser, pictures, tmp_path_factory):
    """What the pages show in both languages; what they log and ask for."""
    folder = tmp_path_factory.mktemp("pages")
    found, said, asked = {"stick": set()}, [], set()
    for name, run in runs.items():
        to_wasm(run, folder / name)
        for locale in ("en-GB", "pt-BR"):
            context = browser.new_context(locale=locale, viewport={"width": 390, "height": 800})
            page = context.new_page()
            page.set_default_timeout(90_000)
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: asked.add(request.url.partition(":")[0]))
            page.goto(f"file://{folder / name / 'index.html'}")
            page.wait_for_selector("#go:enabled", state="attached")
            ways = {"translator": of_text, "delayed": of_text, "sales": of_sales}
            found[name, locale] = ways.get(name, of_pictures)(page, name, pictures)
            found["stick"].add(page.evaluate("document.documentElement.scrollWidth"))
            context.close()
    return found | {"said": said, "asked": asked}


def texts(page, selector):
    return page.eval_on_selector_all(selector, "all => all.map((each) => each.textContent)")


def of_text(page, name, _):
    shown = {"label": page.text_content("#label"), "searches": page.is_visible("#beam")}
    told = []
    if name == "translator":
        for text, beam in (("", 1), ("one", 0), ("one", 2.5)):
            page.fill("#input", text)
            page.evaluate(f"document.querySelector('#beam').value = {beam}")
            page.evaluate("document.querySelector('#form').onsubmit(new Event('submit'))")
            page.wait_for_function("document.querySelector('#told').textContent")
            told.append(page.text_content("#told"))
        page.fill("#beam", "8")
    page.fill("#input", "\n".join(["", *SENTENCES]))
    page.click("#go")
    page.wait_for_function("document.querySelector('#told').textContent.includes('und')")
    looks = (
        "all => all.map((row) => [...row.querySelectorAll('td')].map((each) => each.textContent))"
    )
    return shown | {
        "told": [*told, page.text_content("#told")],
        "output": texts(page, "#output p"),
        "looks": page.eval_on_selector_all(".looks:first-of-type tbody tr", looks),
        "columns": texts(page, "#shown .looked:first-child thead th"),
    }


def of_sales(page, *_):
    shown = {"begins": page.input_value("#input"), "ahead": page.input_value("#ahead")}
    shown["labels"] = [page.text_content(each) for each in ("#label", "#ahead-label")]
    shown["first"] = page.text_content("#told")
    told = []
    for ahead in ("1\n2", "1\n?\n2", "1\n2\n3 4", "1\n2\nx"):
        page.fill("#ahead", ahead)
        page.click("#go")
        told.append(page.text_content("#told"))
    page.fill("#ahead", COMING)
    page.click("#go")
    rows = "rows => rows.map((row) => [...row.children].map((each) => each.textContent))"
    shown["rows"] = page.eval_on_selector_all("#forecast tbody tr", rows)
    last = shown["begins"].splitlines()[-1].rpartition(",")[0]
    page.fill("#input", shown["begins"] + f"\n{last}, ?")
    page.click("#go")
    return shown | {"told": [*told, page.text_content("#told")]}


def of_pictures(page, name, pictures):
    shown = {"label": page.text_content("#picture-label")}
    if name == "captioner":  # another file is chosen while it writes
        page.evaluate("window.requestAnimationFrame = (go) => setTimeout(go, 40)")
        page.set_input_files("#file", pictures / "5.png")
        page.wait_for_function("document.querySelector('#output').textContent")
    page.set_input_files("#file", pictures / "none.png")
    page.wait_for_function("document.querySelector('#told').textContent")
    page.wait_for_timeout(80)
    shown["told"] = page.text_content("#told")
    shown["left"] = page.text_content("#output") + page.text_content("#shown")
    page.set_input_files("#file", pictures / "3.png")
    page.wait_for_function("document.querySelector('#scores td, #shown canvas')")
    rows = "rows => rows.map((row) => [...row.children].map((each) => each.textContent))"
    shown["scores"] = page.eval_on_selector_all("#scores tr", rows)
    shown["caption"] = page.text_content("#output")
    shown["looks"] = texts(page, "#shown figcaption")
    pixels = "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    shown["pixels"] = page.eval_on_selector("#seen", pixels)
    return shown


@pytest.mark.parametrize("name", ["translator", "delayed"])
def test_a_page_translates_as_predict_does(seen, runs, name):
    loaded = load(runs[name])
    source = Source.text("\n".join(SENTENCES))
    options = of_translations.PredictOptions()
    expected = [each["translation"] for each in loaded.task.predict(loaded.model, source, options)]
    english, portuguese = (seen[name, locale] for locale in ("en-GB", "pt-BR"))
    assert english["output"] == portuguese["output"] == expected
    most = loaded.task.options.data.max_characters
    part = f"Of a line of more than {most} characters the beginning is translated."
    assert english["told"][-1] == f"The model does not know: und\n{part}"
    assert portuguese["told"][-1].startswith("O modelo não conhece: und\nDe uma linha de mais de")
    assert english["searches"] == (name == "translator")
    assert portuguese["label"] == "Frases para traduzir, uma por linha"


def test_a_page_shows_where_a_translator_looked(seen, runs):
    loaded = load(runs["translator"])
    options = of_translations.PredictOptions()
    (first,) = loaded.task.predictions(loaded.model, SENTENCES[:1], options)
    shown = seen["translator", "en-GB"]
    assert shown["columns"] == ["one", "and", "four", "end"]
    looks = [[float(each.removesuffix(" %")) for each in row] for row in shown["looks"]]
    expected = 100 * np.array(first["attention"])
    np.testing.assert_allclose(looks[: len(expected)], expected, atol=0.06)
    assert seen["translator", "en-GB"]["told"][:3] == [
        "There is nothing to read yet.",
        *["A beam is a whole number from 1 to 16."] * 2,
    ]


def test_a_page_reads_a_picture_as_python_does(seen, runs, pictures):
    loaded = load(runs["seer"])
    picture = read_picture(Source.file(pictures / "3.png"), 16).pixels
    with torch.inference_mode():
        scores = loaded.model(picture[None], None).softmax(-1)[0]
    expected = dict(zip(loaded.task.answer.labels, scores.tolist(), strict=True))
    for locale in ("en-GB", "pt-BR"):
        shown = seen["seer", locale]
        pixels = np.array(shown["pixels"]).reshape(16, 16, 4)
        assert (pixels[:, :, :3] == picture.permute(1, 2, 0).numpy()).all()
        assert [name for name, _ in shown["scores"]] == sorted(expected, key=expected.get)[::-1]
        for name, figure in shown["scores"]:
            share = float(re.sub(r" %", "", figure).replace(",", "."))
            assert share == pytest.approx(100 * expected[name], abs=0.06)
    assert (
        seen["seer", "en-GB"]["told"]
        == "This is not a picture that can be read here: PNG, JPEG, WebP and GIF can."
    )
    assert seen["seer", "pt-BR"]["label"].startswith("Uma imagem: escolha um arquivo")


def test_a_page_captions_as_predict_does(seen, runs, pictures):
    loaded = load(runs["captioner"])
    source = Source.file(pictures / "3.png")
    options = of_captions.PredictOptions()
    (expected,) = loaded.task.predict(loaded.model, source, options)
    for locale, end in (("en-GB", "end"), ("pt-BR", "fim")):
        shown = seen["captioner", locale]
        assert shown["caption"] == expected["caption"]
        assert shown["left"] == ""
        assert len(shown["looks"]) == len(expected["attention"])
        assert (shown["looks"][-1] == end) == expected["complete"]


def test_a_page_forecasts_by_what_else_is_known_as_predict_does(seen, runs):
    loaded = load(runs["sales"])
    source = Source.file(runs["sales"].parent / "known.csv")
    options = of_forecasts.PredictOptions()
    said = [*loaded.task.predict(loaded.model, source, options)]
    shown = seen["sales", "en-GB"]
    for step, row in zip(said, shown["rows"], strict=True):
        numbers = [float(row[n]) for n in (1, 2, -1)]
        expected = [step[name] for name in ("forecast", "low", "high")]
        assert numbers == pytest.approx(expected, rel=6e-6, abs=1e-5)
    assert shown["begins"].splitlines()[-1] == "3.9, 46, 2"
    assert shown["ahead"] == "2\n2\n2"
    repeats = "The data end before these steps: the box repeats what they have last of promo."
    assert shown["first"] == repeats
    assert shown["labels"][0].startswith("The last values of sales, cost, promo, a step on each")
    assert shown["told"] == [
        "The forecast is of 3 steps, each with promo; there are 2 lines.",
        "promo cannot be missing; it is in line 2.",
        "Line 3 has 2 numbers; a step has 1: promo.",
        "“x” is not a number here; a number has a decimal point, and ? is a missing one.",
        "The forecast looks at the last 5 of 6 steps. Missing values of other columns: 1; each is "
        "read as the mean of the training.",
    ]


def test_pages_ask_for_nothing_log_nothing_and_nothing_sticks_out(seen):
    assert seen["said"] == []
    assert seen["asked"] <= {"file", "data", "blob"}
    assert seen["stick"] == {390}
