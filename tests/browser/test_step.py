"""Step on the page: every cell's equations with the numbers of `unrolled`'s own tracing."""

import re

import pytest

import unrolled
from support.page import evaluate, plain, shown, until, wait_for_place
from unrolled.data import Source
from unrolled.inspection import step_equations
from unrolled.tasks import load

TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n"
UNIT = 5

# What has an equation of its own and a name: gates and states as trace calls them.
TRACED = {
    "lstm": "f i g o c h",
    "gru": "r z n h",
    "janet": "f g h",
    "rnn": "h",
    "squared": "f g c h",
    "before": "r z n h",
}


@pytest.fixture(scope="module")
def runs(small_runs, own_runs):
    return {name: (small_runs | own_runs)[name] for name in TRACED}


@pytest.fixture(scope="module")
def at(start_server, runs):
    return start_server([*runs.values()])


@pytest.fixture(scope="module")
def traced(runs):
    """For each run the values of one unit over the text, by name, as `unrolled.trace` has them."""
    values = {}
    for name, path in runs.items():
        loaded = load(path, trust_code=True)
        tokens = loaded.task.vocabulary.encode(TEXT)
        (record,) = unrolled.trace(loaded.model, tokens[None])
        values[name] = {key: all_[:, 0, UNIT].double() for key, all_ in record.values.items()}
    return values


STEP = """() => ({
    wires: [...document.querySelectorAll(".diagram .number")].map(
        (e) => [e.dataset.name, e.textContent]),
    equations: [...document.querySelectorAll(".operation")].map((equation) => ({
        terms: [...equation.querySelectorAll(".term")].map((e) => e.textContent),
        numbers: [...equation.querySelectorAll(".n")].map(
            (e) => [e.dataset.name, e.dataset.shown, e.textContent]),
    })),
})"""


def check_step(page, names, values, place):
    """The drawing's and the equations' numbers are those of trace, and the equations hold."""
    step = page.evaluate(STEP)
    on_wires = {name: plain(text) for name, text in step["wires"]}
    assert names <= on_wires.keys()
    for name in names:
        assert on_wires[name] == shown(values[name][place].item(), 3)
    in_equations = set()
    for equation in step["equations"]:
        *terms, last = equation["terms"]
        assert terms
        last = plain(last).removeprefix("=").strip()
        digits = len(last.partition(".")[2])
        assert digits >= 3
        for term in terms:
            assert shown(evaluate(term), digits) == last, (equation["terms"], place)
        for name, text, seen in equation["numbers"]:
            assert plain(seen).lstrip("(-").rstrip(")") == text.lstrip("-")
            before = name.removeprefix("before:")
            if name in names:
                value = values[name][place].item()
            elif before in names:
                value = values[before][place - 1].item() if place else 0.0
            else:
                continue
            assert shown(value, len(text.partition(".")[2])) == text
            in_equations.add(name)
    assert names <= in_equations


@pytest.mark.parametrize("name", TRACED)
def test_stepping_through_a_cell_shows_the_numbers_of_trace(open_page, at, traced, name):
    page = open_page(at=at, view="step", run=name, unit=UNIT, text=TEXT)
    names = set(TRACED[name].split())
    wait_for_place(page, len(TEXT) - 1)
    check_step(page, names, traced[name], len(TEXT) - 1)
    page.keyboard.press("Home")
    for place in range(16):  # a blank, a colon and a new line among them
        wait_for_place(page, place)
        check_step(page, names, traced[name], place)
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    wait_for_place(page, 14)
    check_step(page, names, traced[name], 14)


# At each place what is shown: numbers of the drawing by name, and the sentence on a state.
SUMS = """() => [...document.querySelectorAll(".ribbon .token")].map((token) => {
    token.click();
    const wires = [...document.querySelectorAll(".diagram .number")].map(
        (e) => [e.dataset.name, e.textContent]);
    const sentences = [...document.querySelectorAll(".operation .said")].map((e) => e.textContent);
    return [wires, sentences.filter((text) => /kept|fica/.test(text))];
})"""


@pytest.mark.parametrize(
    ("name", "language"), [("lstm", "en"), ("gru", "pt-BR"), ("squared", "en")]
)
def test_what_is_kept_and_added_makes_the_state_in_drawing_and_sentence(
    open_page, at, runs, name, language
):
    page = open_page(at=at, view="step", run=name, unit=UNIT, text=TEXT, language=language)
    wait_for_place(page, len(TEXT) - 1)
    cell = load(runs[name], trust_code=True).task.options.model.kind.cell
    state = step_equations(cell).equations[[*TRACED[name].split()].index(cell.states[-1])]
    for wires, (sentence,) in page.evaluate(SUMS):
        on_wires = {key: plain(text).replace(",", ".") for key, text in wires}
        total = on_wires[state.id]
        parts = float(on_wires[state.kept]) + float(on_wires[state.added])
        assert shown(parts, 3) == total
        numbers = re.findall(r"-?[0-9]+[.,][0-9]+", plain(sentence))
        assert all(("," in number) == (language != "en") for number in numbers)
        _, now, kept, added = (number.replace(",", ".") for number in numbers)
        assert shown(float(kept) + float(added), 2) == now


def test_a_direction_that_reads_backwards_shows_its_own_numbers(open_page, start_server, task_runs):
    text, path = "one two is three", task_runs["classifier"]
    loaded = load(path)
    subject = loaded.task.subject(loaded.model)
    (passage,) = subject.read(Source.text(text))
    forwards, backwards = unrolled.trace(subject.layer, passage.features[None])
    assert backwards.reverse
    page = open_page(at=start_server([path]), view="step", text=text, unit=UNIT, position=1)
    for record in (forwards, backwards):
        if record.reverse:
            page.select_option("#part", label="backwards")
            page.get_by_text("reads from the end").wait_for()
        wait_for_place(page, 1)
        values = {name: value[:, 0, UNIT] for name, value in record.values.items()}
        step = page.evaluate(STEP)
        on_wires = {name: plain(number) for name, number in step["wires"]}
        for name in ("i", "f", "g", "o", "c", "h"):
            assert on_wires[name] == shown(values[name][1].item(), 3)
        before = values["c"][2 if record.reverse else 0].item()
        assert on_wires["before:c"] == shown(before, 3)
    assert "t+1" in page.locator(".formula").nth(4).inner_text()


def test_every_equation_has_its_turn_and_its_sentence(open_page, at, traced):
    page = open_page(at=at, view="step", run="lstm", unit=UNIT, text=TEXT, position=3)
    wait_for_place(page, 3)
    sentences = []
    for equation in ("i", "f", "g", "o", "c", "h"):
        page.keyboard.press("ArrowDown")
        page.wait_for_selector(f".operation.on[data-equation={equation}]")
        assert page.locator(".chip[aria-pressed=true]").get_attribute("data-equation") == equation
        assert page.locator(".diagram .part.on").count() > 2
        sentences.append(page.locator("#sentence").inner_text())
    kept = shown(traced["lstm"]["f"][3].item(), 2)
    assert f"keeps {kept} of what this unit held" in sentences[1]
    assert len(set(sentences)) == 6
    page.keyboard.press("ArrowUp")
    page.wait_for_selector(".operation.on[data-equation=c]")


def test_a_unit_is_chosen_by_number_by_key_and_from_all(open_page):
    page = open_page(view="step", run="gru", unit=UNIT)
    number = ".diagram .number[data-name=h]"
    before = page.wait_for_selector(number).text_content()
    page.keyboard.press("]")
    until(page, "document.querySelector('#unit').value === '6'")
    until(page, f"b => document.querySelector('{number}').textContent !== b", arg=before)
    page.fill("#unit", "9999")
    page.press("#unit", "Enter")
    until(page, "document.querySelector('#unit').value === '23'")
    page.click("#busiest")
    page.locator("canvas.grid").focus()
    page.keyboard.press("ArrowLeft")
    assert 0 <= int(page.input_value("#unit")) < 24


def test_play_goes_on_to_the_next_character(open_page):
    page = open_page(view="step", run="lstm", position=2)
    wait_for_place(page, 2)
    page.keyboard.press(" ")
    wait_for_place(page, 3)
    page.keyboard.press(" ")


# Boxes of what is drawn as [left, top, right, bottom]: numbers and what is in signs; no text of
# one may stand on that of another, and none outside of the drawing.
BOXES = """() => {
    const box = (e) => {
        const { left, top, right, bottom } = e.getBoundingClientRect();
        return [left, top, right, bottom];
    };
    const named = (e) => `${e.dataset.name ?? ""} ${e.textContent}`;
    const words = [...document.querySelectorAll(".diagram text")].filter((e) => e.textContent);
    return [box(document.querySelector(".diagram")), words.map((e) => [named(e), box(e)])];
}"""


@pytest.mark.parametrize("name", TRACED)
def test_no_text_of_a_drawing_stands_on_another(open_page, at, name):
    page = open_page(at=at, view="step", run=name, unit=UNIT)
    page.wait_for_selector(".diagram .number")
    page.wait_for_load_state("networkidle")
    (left, top, right, bottom), words = page.evaluate(BOXES)
    slack = 3  # of a box, whose text does not fill it
    for k, (text, (x0, y0, x1, y1)) in enumerate(words):
        assert x0 >= left - slack, text
        assert y0 >= top - slack, text
        assert x1 <= right + slack, text
        assert y1 <= bottom + slack, text
        for other, (a0, b0, a1, b1) in words[k + 1 :]:
            across = min(x1, a1) - max(x0, a0)
            down = min(y1, b1) - max(y0, b0)
            assert across < slack or down < 2 * slack, (text, other)


def test_the_cell_is_seen_whole_on_a_projector(open_page, at):
    """The drawing, its buttons and all equations, without scrolling."""
    page = open_page(at=at, view="step", run="lstm", unit=UNIT, text=TEXT, language="pt-BR")
    for name in ("gru", "lstm"):
        page.select_option("#run", name)
        page.wait_for_selector(".diagram .number")
        for width, height in ((1280, 800), (1366, 768), (1920, 1080)):
            page.set_viewport_size({"width": width, "height": height})
            bottom = "document.querySelector('.chips').getBoundingClientRect().bottom"
            until(page, f"{bottom} < innerHeight && scrollY === 0")
            box = page.locator(".two").bounding_box()
            assert box["width"] > 0.9 * width
            card = page.locator(".equations").bounding_box()
            last = page.locator(".operation").last.bounding_box()
            assert last["y"] + last["height"] < card["y"] + card["height"] < height


def test_on_a_phone_an_equation_stands_below_the_button_that_chose_it(open_page, at):
    page = open_page(at=at, view="step", run="lstm", unit=UNIT, text=TEXT, width=390, height=844)
    page.wait_for_selector(".diagram .number")
    page.locator(".chip[data-equation=h]").click()
    page.wait_for_selector(".operation.on[data-equation=h]")
    button = page.locator(".chip[data-equation=h]").bounding_box()
    equation = page.locator(".operation.on").bounding_box()
    assert 0 < equation["y"] - button["y"] < 150
    assert equation["y"] < page.locator(".units").bounding_box()["y"]


def test_a_state_that_is_read_through_a_product_alone_was_something_before(open_page, at, traced):
    page = open_page(at=at, view="step", run="rnn", unit=UNIT, text=TEXT, position=3)
    page.wait_for_selector(".diagram .number")
    before, after = (shown(traced["rnn"]["h"][place].item(), 2) for place in (2, 3))
    sentence = plain(page.locator("#sentence").inner_text())
    assert f"goes from {before} to {after}" in sentence


def test_another_run_is_shown_by_its_own_cell(open_page):
    page = open_page(view="step", run="lstm")
    page.wait_for_selector(".operation[data-equation=o]")
    page.select_option("#run", "gru")
    page.wait_for_selector(".operation[data-equation=z]")
    page.select_option("#run", "janet")
    page.get_by_text("Second gate").first.wait_for()
    page.select_option("#run", "tcn")
    page.get_by_text("no gates and no state to step through").wait_for()
    assert page.locator(".tab[aria-current]").get_attribute("data-view") == "write"
    assert page.locator(".tab[data-view=step]").count() == 0


@pytest.mark.filterwarnings("ignore:.*reference loop")  # that is what it is about
def test_equations_that_cannot_be_drawn_say_why(
    open_page, start_server, make_run, tmp_path, small_text
):
    cell = "import torch, unrolled\n\n@unrolled.cell(gates='a')\ndef sorted_(x, u, h):\n"
    cell += "    return dict(h=torch.sort(torch.tanh(x.a + u.a), dim=-1).values)\n"
    (tmp_path / "cells.py").write_text(cell)
    (tmp_path / "text.txt").write_text(small_text * 400)
    data = {"files": (str(tmp_path / "text.txt"),)}
    path = make_run("lm", data, tmp_path / "run", cell=f"{tmp_path}/cells.py:sorted_")
    page = open_page(at=start_server([path]), view="step")
    page.get_by_text("cannot be drawn").wait_for()
    page.keyboard.press("3")
    page.wait_for_selector(".state-number")
