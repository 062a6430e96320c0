import math
import re
import time

import pytest
import torch

from unrolled import trace
from unrolled.tasks.lm.sampling import generate
from unrolled.tasks.lm.task import load_language_model

TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n"
VIEWS = ("write", "step", "unroll", "gradient", "compare")
UNIT = 5

# what an operation's number is called on the page, and what trace calls it
TRACED = {
    "lstm": {"f": "f", "i": "i", "g": "g", "o": "o", "c": "c", "h": "h"},
    "gru": {"r": "r", "z": "z", "n": "n", "h": "h"},
    "janet": {"f": "f", "g": "g", "h": "h"},
    "rnn": {"h": "h"},
}


@pytest.fixture(scope="module")
def traced(small_runs):
    found = {}
    for name in TRACED:
        model, vocabulary, _ = load_language_model(small_runs[name])
        (record,) = trace(model, vocabulary.encode(TEXT)[None])
        found[name] = {key: values[:, 0, UNIT].double() for key, values in record.values.items()}
    return found


MINUS = "\N{MINUS SIGN}"


def until(page, condition, arg=None, seconds=60):
    """Wait for a JavaScript expression; playwright's own way needs eval, which the page forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition, arg):
        assert time.monotonic() < end, f"still not so after {seconds} s: {condition} {arg}"
        time.sleep(0.03)


def shown(value, digits):
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if not float(text) else text


def plain(text):
    return text.replace(MINUS, "-").strip()


def evaluate(term):
    """The value of a term as it stands on the page, such as "= σ(0.414 + 0.061)"."""
    code = plain(term).removeprefix("=").replace("·", "*").replace("σ", "sigmoid")
    assert re.fullmatch(r"[\d.\s()+*\-a-z]+", code), code
    names = {"sigmoid": lambda x: 1 / (1 + math.exp(-x)), "tanh": math.tanh}
    return eval(code, {"__builtins__": {}}, names)


def wait_for_place(page, at):
    until(page, "at => document.querySelector('.ribbon .here')?.dataset.at === String(at)", arg=at)


STEP = """() => ({
    edges: [...document.querySelectorAll(".diagram .number")].map(
        (e) => [e.dataset.name, e.textContent]),
    operations: [...document.querySelectorAll(".operation")].map((operation) => ({
        terms: [...operation.querySelectorAll(".term")].map((e) => e.textContent),
        numbers: [...operation.querySelectorAll(".n")].map(
            (e) => [e.dataset.name, e.dataset.shown, e.textContent]),
    })),
})"""


def check_step(page, traced, at):
    """The numbers of the diagram and of the equations are trace's, and the equations hold."""
    names, values = traced["names"], traced["values"]
    step = page.evaluate(STEP)
    on_edges = [(name, text) for name, text in step["edges"] if name in names]
    assert len(on_edges) == len(names)
    for name, text in on_edges:
        assert plain(text) == shown(values[names[name]][at].item(), 3)
    assert len(step["operations"]) >= 2
    in_equations = set()
    for operation in step["operations"]:
        *terms, last = operation["terms"]
        last = plain(last).removeprefix("=").strip()
        digits = len(last.partition(".")[2])
        assert digits >= 3
        for term in terms:
            assert shown(evaluate(term), digits) == last, (operation["terms"], at)
        for name, text, seen in operation["numbers"]:
            assert plain(seen).lstrip("(-").rstrip(")") == text.lstrip("-")
            if name in names:
                value = values[names[name]][at].item()
                assert shown(value, len(text.partition(".")[2])) == text
                in_equations.add(name)
    assert in_equations == names.keys()


@pytest.mark.parametrize("name", TRACED)
def test_stepping_through_all_gates_shows_the_numbers_of_trace(open_page, traced, name):
    page = open_page(view="step", run=name, unit=UNIT)
    known = {"names": TRACED[name], "values": traced[name]}
    wait_for_place(page, len(TEXT) - 1)
    check_step(page, known, len(TEXT) - 1)
    page.keyboard.press("Home")
    for at in range(40):
        wait_for_place(page, at)
        check_step(page, known, at)
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    wait_for_place(page, 38)
    check_step(page, known, 38)


def test_every_operation_has_its_turn_and_its_sentence(open_page, traced):
    page = open_page(view="step", run="lstm", unit=UNIT, position=3)
    wait_for_place(page, 3)
    sentences = []
    for operation in ("f", "i", "g", "update", "o", "h"):
        page.keyboard.press("ArrowDown")
        page.wait_for_selector(f".operation.on[data-operation={operation}]")
        assert page.locator(".chip[aria-pressed=true]").get_attribute("data-operation") == operation
        assert page.locator(".diagram .part.on").count() > 2
        sentences.append(page.locator("#sentence").inner_text())
    kept = shown(traced["lstm"]["f"][3].item(), 2)
    assert f"keeps {kept} of this unit's memory" in sentences[0]
    assert len(set(sentences)) == 6
    page.keyboard.press("ArrowUp")
    page.wait_for_selector(".operation.on[data-operation=o]")


def test_a_unit_is_chosen_by_number_by_key_and_from_all(open_page):
    page = open_page(view="step", run="gru", unit=UNIT)
    before = page.wait_for_selector(".diagram .number[data-name=h]").text_content()
    page.keyboard.press("]")
    until(page, "document.querySelector('#unit').value === '6'")
    until(
        page,
        "b => document.querySelector('.diagram .number[data-name=h]').textContent !== b",
        arg=before,
    )
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


def colours(page):
    return page.evaluate(
        "[...document.querySelectorAll('.mirror span')].map(e => e.style.backgroundColor)"
    )


def test_text_is_coloured_while_it_is_typed(open_page):
    page = open_page(view="write", run="lstm", signal="h", unit=UNIT)
    page.fill("#text", "")
    page.type("#text", "hear me speak")
    until(
        page,
        "document.querySelectorAll('.mirror span').length === 13 && "
        "[...document.querySelectorAll('.mirror span')].every(e => e.style.backgroundColor)",
    )
    assert page.locator(".mirror").inner_text().rstrip("\u200b\n") == "hear me speak"
    before = colours(page)
    page.select_option("#signal", "c")
    until(
        page,
        "before => [...document.querySelectorAll('.mirror span')]"
        ".some((e, i) => e.style.backgroundColor !== before[i])",
        arg=before,
    )
    assert "c = " in page.locator("#readout").inner_text()


def test_the_readout_says_what_trace_says(open_page, traced):
    page = open_page(view="write", run="lstm", signal="f", unit=UNIT, position=7)
    value = shown(traced["lstm"]["f"][-1].item(), 3)
    page.locator("#text").focus()
    page.keyboard.press("Control+End")
    until(
        page, "v => document.querySelector('#readout').textContent.includes(`f = ${v}`)", arg=value
    )


def test_what_the_model_never_saw_is_said_and_marked(open_page):
    page = open_page(view="write", run="lstm")
    page.fill("#text", "hear <img src=x onerror=alert(1)> é")
    notice = page.wait_for_selector("#notice:not([hidden])").inner_text()
    assert "never seen" in notice
    assert "é" in notice
    assert page.locator(".mirror .unknown").count() > 3
    assert page.locator("#view img").count() == 0
    page.fill("#text", "hear")
    page.wait_for_selector("#notice", state="hidden")


def test_a_candidate_can_be_taken(open_page):
    page = open_page(view="write", run="gru")
    page.fill("#text", "hear")
    until(page, "document.querySelectorAll('.candidate').length === 8")
    until(page, "document.querySelectorAll('.mirror span').length === 4")
    first = page.locator(".candidate").first
    token = first.locator(".candidate-token").inner_text()
    first.click()
    until(page, "document.querySelector('#text').value.length === 5")
    added = page.input_value("#text")[4]
    assert token == {" ": "␣", "\n": "↵"}.get(added, added)


def test_the_network_writes_on(open_page, small_runs):
    page = open_page(view="write", run="gru")
    page.fill("#text", "All:")
    page.fill("#length", "60")
    page.fill("#seed", "7")
    page.get_by_role("button", name="Write on").click()
    until(page, "document.querySelector('#text').value.length === 64")
    model, vocabulary, _ = load_language_model(small_runs["gru"])
    alone = generate(model, vocabulary, "All:", length=60, temperature=0.8, seed=7)
    assert page.input_value("#text") == "All:" + "".join(alone)
    until(
        page,
        "[...document.querySelectorAll('.mirror span')].filter(e => e.style.backgroundColor)"
        ".length === 63",
    )


_ESCAPE_SOON = """() => {
    const watch = setInterval(() => {
        if (document.querySelector("#text").value.length > 20) {
            clearInterval(watch);
            document.activeElement.dispatchEvent(
                new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
        }
    }, 1);
}"""


def test_writing_can_be_stopped(open_page):
    page = open_page(view="write", run="gru")
    page.fill("#text", "All:")
    page.fill("#length", "4000")
    page.evaluate(_ESCAPE_SOON)  # from inside: this model writes faster than we could press
    page.get_by_role("button", name="Write on").click()
    until(page, "document.querySelector('#text').value.length > 20")
    page.get_by_role("button", name="Write on").wait_for()
    assert len(page.input_value("#text")) < 4000


def test_another_run_is_shown_by_its_own_cell(open_page):
    page = open_page(view="step", run="lstm")
    page.wait_for_selector(".operation[data-operation=o]")
    page.select_option("#run", "gru")
    page.wait_for_selector(".operation[data-operation=z]")
    page.select_option("#run", "tcn")
    page.get_by_text("no gates to step through").wait_for()
    page.select_option("#run", "janet")
    page.wait_for_selector(".operation[data-operation=open]")


def test_two_runs_read_the_same_text(open_page, small_runs):
    page = open_page(view="compare", run="lstm", second="gru")
    for which, name in (("run", "lstm"), ("second", "gru")):
        model, vocabulary, _ = load_language_model(small_runs[name])
        tokens = vocabulary.encode(TEXT)
        with torch.no_grad():
            scores = model(tokens[None, :-1])[0][0].double()
        nats = torch.nn.functional.cross_entropy(scores, tokens[1:])
        bits = shown(nats.item() / math.log(2), 2)
        page.wait_for_selector(f"[data-side={which}] .figure strong")
        assert page.locator(f"[data-side={which}] .figure strong").inner_text() == bits
    page.select_option("#second-of", "janet")
    page.get_by_text("Orange: janet did").wait_for()
    page.locator("h1").first.click(force=True)
    page.keyboard.press("Home")
    until(page, "[...document.querySelectorAll('.ribbon .here')].every(e => e.dataset.at === '0')")


def test_the_gradient_fades_on_its_way_back(open_page):
    page = open_page(view="unroll", run="rnn", position=40)
    page.wait_for_selector(".back[data-lag]", state="attached")
    arrows = page.locator(".back[data-lag]").all()
    shares = {
        int(a.get_attribute("data-lag")): float(a.get_attribute("data-share")) for a in arrows
    }
    assert sorted(shares) == [*range(1, len(shares) + 1)]
    opacity = {
        int(a.get_attribute("data-lag")): float(a.evaluate("e => e.style.opacity")) for a in arrows
    }
    for lag, share in shares.items():
        assert opacity[lag] == pytest.approx(max(0.07, min(1, share) ** 0.5), abs=2e-3)


def test_reach_and_verdict_are_shown_for_one_run_and_for_all(open_page):
    page = open_page(view="gradient", run="lstm")
    page.wait_for_selector(".said-verdict")
    assert page.locator(".chart .line").count() == 2
    assert page.locator(".shares tr").count() == 4
    page.check("#all-runs")
    until(page, "document.querySelectorAll('.said-verdict').length === 6")
    assert page.locator(".chart .line").count() == 6


@pytest.mark.parametrize("language", ["en", "pt"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_sticks_out_at_any_width(open_page, language, width):
    page = open_page(view="write", run="deep", width=width, language=language, signal="f")
    for number, view in enumerate(VIEWS, 1):
        page.locator("body").click(position={"x": 2, "y": 2})
        page.keyboard.press(str(number))
        page.wait_for_selector(f".tab[aria-current][data-view={view}]")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view


def test_both_languages_say_everything(open_page):
    page = open_page(view="step", run="lstm", position=3)
    keys = page.evaluate(
        """async () => {
            const { WORDS } = await import("/static/i18n.js");
            const keys = (words, prefix = "") => Object.entries(words).flatMap(([key, value]) =>
                value && typeof value === "object" && !Array.isArray(value)
                    ? keys(value, `${prefix}${key}.`) : [`${prefix}${key}:${typeof value}`]);
            return [keys(WORDS.en), keys(WORDS.pt)];
        }"""
    )
    assert keys[0] == keys[1]
    page.wait_for_selector("#sentence:not(:empty)")
    assert "memory" in page.locator("#sentence").inner_text()
    page.click("#language")
    until(page, "document.documentElement.lang === 'pt'")
    page.get_by_text("Porta de esquecimento").first.wait_for()
    assert "memória" in page.locator("#sentence").inner_text()
    page.reload()
    page.get_by_text("Porta de esquecimento").first.wait_for()


def test_everything_can_be_done_by_keys(open_page):
    page = open_page(view="write", run="lstm")
    page.wait_for_selector(".candidate")

    def tab_to(selector):
        for _ in range(60):
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{selector} is not reached by Tab")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for selector in (".tab[data-view=step]", "#run", "#language", "#theme", "#help", "#signal"):
        tab_to(selector)
    tab_to("#text")
    page.keyboard.press("Control+a")
    page.keyboard.type("hear me")
    tab_to(".candidate")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#text').value.length === 8")
    tab_to("#temperature")
    page.keyboard.press("Home")
    tab_to("#length")
    page.keyboard.press("Control+a")
    page.keyboard.type("12")
    tab_to("button.primary")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#text').value.length === 20")
    page.keyboard.press("2")
    page.wait_for_selector(".tab[aria-current][data-view=step]")
    page.wait_for_selector(".ribbon .here")
    page.keyboard.press("Home")
    wait_for_place(page, 0)
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="hidden")
    for number, view in ((3, "unroll"), (4, "gradient"), (5, "compare"), (1, "write")):
        page.keyboard.press(str(number))
        page.wait_for_selector(f".tab[aria-current][data-view={view}]")


def test_light_and_dark_are_kept(open_page):
    page = open_page(view="write", run="lstm", theme="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.click("#theme")
    until(page, "document.documentElement.dataset.theme === 'light'")
    page.reload()
    page.wait_for_selector(".candidate")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_on_any_colour_can_be_read(open_page, theme):
    page = open_page(view="write", run="lstm", theme=theme, signal="f", unit=UNIT)
    worst = page.evaluate(
        """async () => {
            const { paint, scaleOf } = await import("/static/scales.js");
            const light = (css) => {
                const [r, g, b] = css.match(/\\d+/g).map((v) => {
                    const c = v / 255;
                    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const element = document.createElement("span");
            document.body.append(element);
            let worst = 99;
            for (const [name, low, high] of [["surprise", 0, 9], ["f", 0, 1], ["c", -1, 1]]) {
                const scale = scaleOf(name, [low, high]);
                for (let k = 0; k <= 50; k += 1) {
                    paint(element, scale.rgb(low + ((high - low) * k) / 50));
                    const style = getComputedStyle(element);
                    const [a, b] = [light(style.color), light(style.backgroundColor)];
                    worst = Math.min(worst, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
                }
            }
            element.remove();
            return worst;
        }"""
    )
    assert worst >= 4.5  # WCAG 2.2, 1.4.3
