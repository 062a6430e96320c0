"""The page in a browser: what is typed, shown, compared and said, by mouse and by keys."""

import json
import math

import pytest
import torch

from support.page import plain, shown, until, wait_for_place
from unrolled import generate, languages, load, trace

TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n"
VIEWS = ("write", "step", "unroll", "gradient", "compare")
UNIT = 5


@pytest.fixture(scope="module")
def traced(small_runs):
    loaded = load(small_runs["lstm"])
    (record,) = trace(loaded.model, loaded.task.vocabulary.encode(TEXT)[None])
    return {name: values[:, 0, UNIT].double() for name, values in record.values.items()}


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
    page = open_page(view="write", run="lstm", signal="f", unit=UNIT, position=7, text=TEXT)
    value = shown(traced["f"][-1].item(), 3)
    page.locator("#text").focus()
    page.keyboard.press("Control+End")
    until(
        page, "v => document.querySelector('#readout').textContent.includes(`f = ${v}`)", arg=value
    )


def test_what_the_model_never_saw_is_said_and_marked(open_page):
    page = open_page(view="write", run="lstm")
    page.fill("#text", "hear <img src=x onerror=alert(1)> é")
    notice = page.wait_for_selector("#notice:has-text('never seen')").inner_text()
    assert "never seen" in notice
    assert "é" in notice
    assert page.locator(".mirror .unknown").count() > 3
    assert page.locator("#view img").count() == 0
    page.fill("#text", "hear")
    page.wait_for_selector("#notice", state="hidden")


def test_the_page_does_not_say_by_itself_what_a_model_can_read(open_page):
    """Half a surrogate pair is no text to any model; where the caret is, the answer says."""
    page = open_page(view="write", run="bpe")
    page.evaluate("""() => { const editor = document.querySelector("#text");
        editor.value = "hear \ud800me"; editor.dispatchEvent(new Event("input")) }""")
    page.wait_for_selector("#notice:has-text('never seen')")
    assert page.locator(".mirror .unknown").count() == 1
    page = open_page(view="write", run="lstm")
    page.fill("#text", "")
    page.locator("#text").press_sequentially("héééar")
    for _ in range(2):
        page.keyboard.press("ArrowLeft")  # h é é é | a r
    until(page, "document.querySelector('.mirror .here')?.textContent === 'h'")
    page.keyboard.type("日")
    until(page, "document.querySelectorAll('.mirror .unknown').length === 4")
    until(page, "document.querySelector('.mirror .here')?.textContent === 'h'")


def test_the_caret_is_placed_anew_when_a_late_answer_says_what_is_read(open_page):
    page = open_page(view="write", run="lstm", text="hear")
    page.wait_for_selector(".mirror .here")
    held = []
    page.route("**/api/read", lambda route: held.append(route))
    editor = page.locator("#text")
    editor.focus()
    page.keyboard.press("Control+End")
    editor.press_sequentially("ééé")
    editor.press_sequentially("ar")
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    until(page, "location.hash.includes('position=6')")  # nobody has said yet that é is not read
    assert len(held) == 1
    page.route("**/api/read", lambda route: route.continue_())
    held[0].continue_()
    until(page, "document.querySelectorAll('.mirror .unknown').length === 3")
    until(page, "location.hash.includes('position=3')")
    until(page, "document.querySelector('.mirror .here')?.textContent === 'r'")


@pytest.mark.parametrize("view", ["write", "step", "unroll", "gradient", "compare"])
def test_a_link_to_a_view_says_what_is_passed_over(open_page, view):
    page = open_page(view=view, run="lstm", text="hear m日e speak")
    assert "“日”" in page.wait_for_selector("#notice:has-text('never seen')").inner_text()


@pytest.mark.parametrize("view", ["write", "step", "unroll"])
def test_a_text_of_which_nothing_is_read_is_no_mistake(open_page, view):
    page = open_page(view=view, run="lstm", text="日本")
    assert "“日 本”" in page.wait_for_selector("#notice:has-text('never seen')").inner_text()
    assert "Nothing" in page.locator("#view").inner_text() or view == "write"


def test_unknown_characters_and_a_long_end_are_left_out_of_every_view(open_page, small_runs):
    text = "hé😀ar me " + "speak " * 700
    page = open_page(view="write", run="lstm")
    page.evaluate("""() => {
        const notice = document.querySelector("#notice");
        window.heard = [];
        const hear = () => window.heard.push(notice.textContent);
        new MutationObserver(hear).observe(notice, { childList: true });
    }""")
    page.fill("#text", text)
    until(page, "document.querySelectorAll('.mirror [data-at]').length === 3998")
    coloured = (
        "[...document.querySelectorAll('.mirror [data-at]')].filter(e => e.style.color).length"
    )
    until(page, f"{coloured} === 3997")
    assert page.locator(".mirror .unknown").all_inner_texts() == ["é", "😀"]
    assert page.input_value("#text") == text
    assert page.locator(".mirror .beyond").inner_text().endswith("speak ")
    notice = page.locator("#notice").inner_text()
    assert "“é 😀”" in notice
    assert "first 4\u202f000 characters" in notice
    before = {each.partition("Only")[0] for each in page.evaluate("window.heard")}
    assert before <= {"", notice.partition("Only")[0]}  # which the server says in its answer
    shown = {"step": ".diagram .number", "unroll": ".state-number", "gradient": ".chart .line"}
    for view, what in {**shown, "compare": "[data-side=second] .figure strong"}.items():
        page.click(f".tab[data-view={view}]")
        page.wait_for_selector(what)
        assert page.locator("#notice").inner_text() == notice
    for ribbon in page.locator(".side-of .ribbon").all():
        assert ribbon.locator(".token").count() == 3998


def test_a_place_of_the_text_is_marked_whatever_the_tokens(
    open_page, start_server, own_runs, make_run, small_runs
):
    folder = own_runs["before"].parent
    data = {"files": (str(folder / "text.txt"),), "tokens": "bpe"}
    bpe = make_run("lm", data, folder / "bpe")
    page = open_page(
        at=start_server([small_runs["lstm"], bpe]),
        view="compare",
        run="lstm",
        second="bpe",
        text=TEXT,
    )
    at = TEXT.index("hear") + 2
    page.locator(f"[data-side=run] .ribbon [data-at='{at}']").click()
    until(
        page, "at => document.querySelector('[data-side=run] .here').dataset.at === String(at)", at
    )
    lengths = [
        len(piece)
        for piece in page.locator("[data-side=second] .token").evaluate_all(
            "all => all.map((e) => e.dataset.piece)"
        )
    ]
    here = int(page.locator("[data-side=second] .here").get_attribute("data-at"))
    assert sum(lengths[:here]) <= at < sum(lengths[: here + 1])
    page.locator("[data-side=second] .token").first.click()
    until(
        page,
        "n => document.querySelector('[data-side=run] .here').dataset.at === String(n - 1)",
        lengths[0],
    )
    assert page.get_by_text("Next token").count() == 1
    assert page.locator("#notice").is_hidden()
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))


def test_every_layer_of_a_network_has_its_numbers_unrolled(open_page, small_runs):
    loaded = load(small_runs["deep"])
    records = trace(loaded.model, loaded.task.vocabulary.encode(TEXT)[None])
    page = open_page(view="unroll", run="deep", unit=UNIT, text=TEXT, position=30)
    page.wait_for_selector(".state-number")
    for layer, record in enumerate(records):
        label = page.locator(f".state-number[data-layer='{layer}'][data-at='30']")
        assert plain(label.text_content()) == shown(record.values["c"][30, 0, UNIT].item(), 2)
    assert page.locator(".state").count() == page.locator(".state-number").count()


def test_numbers_stay_inside_their_boxes_on_a_telephone(open_page):
    page = open_page(view="unroll", run="deep", unit=UNIT, text=TEXT, position=30, width=390)
    page.wait_for_selector(".state-number")
    shares = page.evaluate("""() => [...document.querySelectorAll(".state-number")].map((e) =>
        e.getBoundingClientRect().width / e.previousElementSibling.getBoundingClientRect().width)
    """)
    texts = page.locator(".state-number").all_text_contents()
    assert max(map(len, texts)) >= 5  # such as −0.42
    assert max(shares) < 0.92


def test_what_each_level_of_a_convolution_sees_is_drawn(open_page, small_runs):
    model = load(small_runs["tcn"]).model
    page = open_page(view="unroll", run="tcn", text=TEXT, position=30)
    page.wait_for_selector(".share")
    lags = page.locator(".window.seen").evaluate_all(
        "all => all.map((e) => [e.dataset.layer, e.dataset.lag])"
    )
    kernel_size = model.layer.kernel_size
    for level in (0, 1):
        reach = 2 * (kernel_size - 1) * 2**level
        assert {int(lag) for of, lag in lags if int(of) == level} == {
            *range(2**level, reach + 1, 2**level)
        }
    # a share stands in the boxes that these lines lead to
    shown_steps = page.locator(".column-of").count()
    fields = [range(model.layer.receptive_field), range(0, 4 * (kernel_size - 1) + 1, 2)]
    expected = sum(lag < shown_steps for field in fields for lag in field)
    assert page.locator(".share").count() == expected


# That the text is read, by its colours: the first token has no surprise.
READ = """length => document.querySelectorAll(".mirror span").length === length
    && [...document.querySelectorAll(".mirror span")].filter(
        (e) => e.style.backgroundColor).length === length - 1
    && document.querySelectorAll(".candidate").length === 8"""


def test_a_candidate_can_be_taken(open_page):
    page = open_page(view="write", run="gru")
    page.fill("#text", "hear")
    until(page, READ, arg=4)
    first = page.locator(".candidate").first
    token = first.locator(".candidate-token").inner_text()
    first.click()
    until(page, "document.querySelector('#text').value.length === 5")
    added = page.input_value("#text")[4]
    assert token == {" ": "␣", "\n": "↵"}.get(added, added)


def test_the_choice_among_candidates_stays_when_they_come_anew(open_page):
    page = open_page(view="write", run="gru")
    until(page, "document.querySelectorAll('.candidate').length === 8")
    page.route("**/api/read", lambda route: None)  # the answer waits
    with page.expect_request("**/api/read"):
        page.fill("#text", "hear")
    page.locator(".candidate").nth(2).focus()
    old = page.locator(".candidate").nth(2).element_handle()
    page.unroute("**/api/read")  # which lets it go
    until(page, "old => !old.isConnected", arg=old)
    third = "document.activeElement === document.querySelectorAll('.candidate')[2]"
    assert page.evaluate(third)


def test_the_network_writes_on(open_page, small_runs):
    page = open_page(view="write", run="gru")
    page.fill("#text", "All:")
    page.fill("#length", "60")
    page.fill("#seed", "7")
    page.get_by_role("button", name="Write on").click()
    until(page, "document.querySelector('#text').value.length === 64")
    loaded = load(small_runs["gru"])
    alone = generate(
        loaded.model, loaded.task.vocabulary, "All:", length=60, temperature=0.8, seed=7
    )
    assert page.input_value("#text") == "All:" + "".join(alone)
    until(page, READ, arg=64)


def test_a_text_of_which_the_beginning_is_read_goes_on_from_its_end(open_page):
    page = open_page(view="write", run="gru")
    text = "All the world " * 320
    page.fill("#text", text)
    asked = []

    def answer(route):
        asked.append(route.request.post_data_json["text"])
        route.fulfill(body="".join(f"{json.dumps({'text': piece})}\n" for piece in "and on"))

    page.route("**/api/generate", answer)
    page.get_by_role("button", name="Write on").click()
    until(page, "document.querySelector('#text').value.endsWith('and on')")
    assert asked == [text[-4000:]]


_ESCAPE_SOON = """() => {
    const watch = new MutationObserver(() => {
        if (document.querySelector("#text").value.length <= 20) return;
        watch.disconnect();
        document.activeElement.dispatchEvent(
            new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
    });
    watch.observe(document.querySelector(".mirror"), { childList: true });
}"""


def test_writing_can_be_stopped(open_page):
    page = open_page(view="write", run="gru")
    page.fill("#text", "All:")
    page.fill("#length", "400")
    page.evaluate(_ESCAPE_SOON)  # from inside: the page may have the whole answer already
    answer = "".join(f"{json.dumps({'text': 'a'})}\n" for _ in range(400))
    page.route("**/api/generate", lambda route: route.fulfill(body=answer))
    page.get_by_role("button", name="Write on").click()
    until(page, "document.querySelector('#text').value.length > 20")
    page.get_by_role("button", name="Write on").wait_for()
    assert len(page.input_value("#text")) < 30


def test_two_runs_read_the_same_text(open_page, small_runs):
    page = open_page(view="compare", run="lstm", second="gru", text=TEXT)
    for which, name in (("run", "lstm"), ("second", "gru")):
        loaded = load(small_runs[name])
        tokens = loaded.task.vocabulary.encode(TEXT)
        with torch.no_grad():
            scores = loaded.model(tokens[None, :-1])[0][0].double()
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
    page = open_page(view="unroll", run="rnn", position=40, text=TEXT)
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
    page = open_page(view="gradient", run="lstm", text=TEXT)
    page.wait_for_selector(".said-verdict")
    assert page.locator(".chart .line").count() == 2
    assert page.locator(".shares tr").count() == 4
    page.check("#all-runs")
    until(page, "document.querySelectorAll('.said-verdict').length === 6")
    assert page.locator(".chart .line").count() == 6


@pytest.mark.parametrize("language", ["en-GB", "pt-BR"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_sticks_out_and_no_word_or_value_is_missing(open_page, language, width):
    page = open_page(
        view="write", run="deep", width=width, language=language, signal="f", text=TEXT
    )
    for number, view in enumerate(VIEWS, 1):
        page.locator("body").click(position={"x": 2, "y": 2})
        page.keyboard.press(str(number))
        page.wait_for_selector(f".tab[aria-current][data-view={view}]")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        text = page.locator("body").inner_text()
        for missing in ("undefined", "NaN", "null", "{", "[object"):
            assert missing not in text, (view, missing)


def test_the_language_is_the_browsers_until_another_is_chosen(open_page):
    page = open_page(view="step", run="lstm", language="pt-BR", text=TEXT, position=3)
    page.get_by_text("Porta de esquecimento").first.wait_for()
    assert page.evaluate("document.documentElement.lang") == "pt-BR"
    assert "estado de célula" in page.locator("#sentence").inner_text()
    assert "," in page.locator(".diagram .number").first.text_content()
    page.select_option("#language", "en")
    page.get_by_text("Forget gate").first.wait_for()
    assert page.evaluate("document.documentElement.lang") == "en"
    assert "memory" in page.locator("#sentence").inner_text()
    assert "." in page.locator(".diagram .number").first.text_content()
    page.reload()
    page.get_by_text("Forget gate").first.wait_for()


def test_a_new_language_is_one_file(open_page, tmp_path, monkeypatch):
    for code in languages.language_names():
        words = json.dumps({"name": code} | languages.load_words(code))
        (tmp_path / f"{code}.json").write_text(words)
    words = {"name": "Esperanto", "decimal": ",", "views": {"step": "Paŝo"}}
    (tmp_path / "eo.json").write_text(json.dumps(words))
    monkeypatch.setattr(languages, "_FOLDER", tmp_path)
    page = open_page(view="write", run="lstm", language="eo")
    page.locator(".tab", has_text="Paŝo").wait_for()
    assert page.locator("#language option:checked").inner_text() == "Esperanto"
    page.locator(".tab", has_text="Unroll").wait_for()  # what it has no word for


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


def test_keys_work_at_once_after_the_help_is_closed(open_page):
    """Focus leaves the checkbox of a closed dialog only when the page is drawn again."""
    page = open_page(view="write", run="lstm")
    page.wait_for_selector(".candidate")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    view = page.evaluate(
        """() => {
            document.querySelector("#keys").close();
            const pressed = new KeyboardEvent("keydown", { key: "3", bubbles: true });
            document.activeElement.dispatchEvent(pressed);
            return document.querySelector(".tab[aria-current]").dataset.view;
        }"""
    )
    assert view == "unroll"


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
            for (const [name, low, high] of [["surprise", 0, 8], ["f", 0, 1], ["c", -1, 1]]) {
                const scale = scaleOf(name, [], [low, high]);
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
