"""The lecture in Chromium: each scene in both languages, its numbers, exercises, files, keys."""

import csv
import math
import re
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import unrolled
from support.page import plain, until

SCENES = (
    *("sequence", "layer", "state", "configurations", "vanilla", "hello"),
    *("gates", "gru", "janet", "window", "gradient", "compare"),
)
# What is right in each scene's exercises: a number, or which of the choices, counted from 0.
ANSWERS = {
    "sequence": ["#2", "24"],
    "layer": ["#1", str(7 * 5 + 5), str(3 + 2)],
    "state": [f"{math.tanh(0.5 * math.tanh(1)):.2f}", "#0"],
    "configurations": ["#1", "#2", str(8 + 3)],
    "vanilla": [str(4 * 3 + 4 * 4), "#1"],
    "hello": [f"{-math.log(1 / 4):.2f}", "#2"],
    "gates": [str(0.5 * 2 - 1), "#1", "#0"],
    "gru": [f"{0.1 * -0.2 + 0.9 * 0.8:.2f}", "#2"],
    "janet": ["#1", f"{1 - 1 / (1 + math.exp(-1)):.2f}"],
    "window": [str(1 + 2 * (1 + 2 + 4 + 8)), "#1"],
    "gradient": [f"{0.5**10:.3f}", "#2", f"{math.log(99):.1f}"],
    "compare": ["3", "#2"],
}
# Gives each exercise its answers, one after the other; returns what is said of each.
ANSWER = """answers => {
    const give = (form, answer) => {
        const inputs = form.querySelectorAll("input");
        if (answer?.startsWith("#")) inputs[answer.slice(1)].checked = true;
        else if (answer !== null) inputs[0].value = answer;
        form.requestSubmit();
        return [form.dataset.right ?? null, form.querySelector(".said-of-it").textContent];
    };
    return [...document.querySelectorAll(".exercise")]
        .map((form, k) => answers[k].map((answer) => give(form, answer)));
}"""
LEFT_OVER = r"\[object|undefined|NaN|\blecture\.|\{\w+\}|\*|\bnull\b"


@pytest.fixture(scope="module")
def lecture(start_server):
    """The address of a server of the lecture alone, as `unrolled lecture` starts it."""
    return start_server([])


@pytest.fixture
def open_lecture(open_page, lecture):
    def open_it(scene="sequence", **given):
        page = open_page(at=lecture, **given)
        go(page, scene)
        return page

    return open_it


def go(page, scene):
    page.evaluate("name => { location.hash = `lecture/${name}` }", scene)
    page.locator(f'.scene[data-scene="{scene}"] .exercise').first.wait_for()


def saved_numbers(page):
    """The rows of the file of numbers, a header first."""
    with page.expect_download() as download:
        page.click("[data-file=csv]")
    return [*csv.reader(download.value.path().read_text().splitlines())]


def run(page, code, arg=None):
    """Evaluate the body of a function that has the module of a file of the lecture as `name`."""
    names = ("network", "gradient", "hello", "compare", "exercise")
    modules = ", ".join(f"{n}: await import('/static/lecture/{n}.js')" for n in names)
    given = "const { cells } = await (await fetch('/api/lecture')).json();"
    return page.evaluate(f"async (arg) => {{ const all = {{{modules}}}; {given} {code} }}", arg)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("language", ["en-GB", "pt-BR"])
def test_every_scene_fits_and_says_all_in_its_language(open_lecture, language, width):
    page = open_lecture(language=language, width=width)
    assert page.get_attribute("html", "lang") == {"en-GB": "en", "pt-BR": "pt-BR"}[language]
    titles = set()
    for scene in SCENES:
        go(page, scene)
        facts = page.evaluate("""() => ({
            over: document.documentElement.scrollWidth - innerWidth,
            text: document.querySelector("main").innerText,
            names: [...document.querySelectorAll("button, a, input, textarea, select")]
                .filter((e) => e.checkVisibility())
                .map((e) => e.getAttribute("aria-label") ?? e.getAttribute("aria-labelledby")
                    ?? e.labels?.[0]?.textContent ?? e.textContent),
            ids: [...document.querySelectorAll("[id]")].map((e) => e.id),
            drawings: [...document.querySelectorAll(".stage-figure svg")]
                .filter((e) => !e.closest("button"))
                .map((e) => e.getAttribute("aria-label")),
            out: [...document.querySelectorAll(".lecture-figure text, .chart text")].filter((e) => {
                if (!e.checkVisibility()) return false;
                const [text, svg] = [e, e.ownerSVGElement].map((x) => x.getBoundingClientRect());
                return text.left < svg.left - 2 || text.right > svg.right + 2;
            }).map((e) => e.textContent),
        })""")
        assert facts["over"] <= 0, scene
        assert facts["out"] == [], scene
        assert not re.search(LEFT_OVER, facts["text"]), scene
        assert all(name.strip() for name in facts["names"]), scene
        assert all(facts["drawings"]), scene
        assert sorted(facts["ids"]) == sorted(set(facts["ids"])), scene
        if language == "pt-BR":
            assert not re.search(r"\d\.\d", facts["text"]), scene
        titles.add(page.inner_text("h1"))
    assert len(titles) == len(SCENES)


def test_what_is_right_is_called_right_and_the_rest_is_not(open_lecture):
    page = open_lecture(language="pt-BR")
    for scene, answers in ANSWERS.items():
        go(page, scene)
        tried = []
        for right in answers:
            if right[0] == "#":
                count = page.locator(".exercise").nth(len(tried)).locator("input").count()
                nothing, wrong = [None], [f"#{k}" for k in range(count) if f"#{k}" != right]
            else:
                nothing = [None, " ", "x", "0x1", "1e", "--1", "1/2/3"]
                wrong = [f"{float(right) + 1:.1f}", "1/0", "9" * 4000]
            expected = [(each, None) for each in nothing] + [(each, "false") for each in wrong]
            tried.append([*expected, (right.replace(".", ","), "true")])
        judged = page.evaluate(ANSWER, [[answer for answer, _ in each] for each in tried])
        assert len(judged) == len(tried)
        for expected, got in zip(tried, judged, strict=True):
            for (answer, is_right), (got_right, said) in zip(expected, got, strict=True):
                assert got_right == is_right, (scene, answer)
                assert len(said) > 12
                assert not re.search(LEFT_OVER, said), (scene, answer, said)


def test_a_number_is_read_as_people_write_it(open_lecture):
    numbers = {
        "0.25": 0.25,
        " ,25 ": 0.25,
        "1/4": 0.25,
        "1 / 4": 0.25,
        "25 %": 0.25,
        "2,5e-1": 0.25,
    }
    numbers |= {"−3": -3, "-3": -3, "+3.": 3, "-1/4": -0.25, "3/4 %": 0.0075}
    nothing = ["", "  ", "x", "1,2,3", "0x10", "1e", "1/", "/4", "%", "Infinity", "NaN", "1 2", "²"]
    page = open_lecture()
    read = run(page, "return arg.map(all.exercise.numberIn);", [*numbers, *nothing])
    assert read[: len(numbers)] == pytest.approx([*numbers.values()])
    assert all(math.isnan(each) for each in read[len(numbers) :])


def test_training_in_the_page_has_the_losses_of_torch(open_lecture):
    page = open_lecture()
    for name in ("rnn", "lstm", "gru", "janet"):
        hold_losses_to_torch(page, name)


def hold_losses_to_torch(page, name):
    got = run(
        page,
        """
        const sizes = { input: 4, hidden: 6, output: 4 };
        const network = new all.network.Network({ cell: cells[arg], ...sizes, seed: 3 });
        const weights = Object.fromEntries(
            Object.entries(network.weights).map(([key, values]) => [key, [...values]]));
        const other = [{ x: [0.3, -0.2, 0.5, 1], target: null }, { x: null, target: 2 }];
        const train = () => network.train([all.hello.LESSON, other], 0.05).loss;
        return { weights, losses: Array.from({ length: 12 }, train) };
        """,
        name,
    )
    kinds = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU, "janet": unrolled.JANET}
    layer, dense = kinds[name](4, 6).double(), nn.Linear(6, 4).double()
    parameters = {key.removesuffix("_l0"): value for key, value in layer.named_parameters()}
    parameters |= {"weight_out": dense.weight, "bias_out": dense.bias}
    assert parameters.keys() == got["weights"].keys()
    with torch.no_grad():
        for key, values in got["weights"].items():
            parameters[key].copy_(torch.tensor(values).double().view_as(parameters[key]))
    optimizer = torch.optim.Adam(parameters.values(), lr=0.05)
    hello = torch.eye(4).double()[[0, 1, 2, 2], None]
    other = torch.tensor([[0.3, -0.2, 0.5, 1], [0, 0, 0, 0]]).double()[:, None]
    for loss_in_page in got["losses"]:
        scores = torch.cat([dense(layer(hello)[0])[:, 0], dense(layer(other)[0])[1]])
        loss = nn.functional.cross_entropy(scores, torch.tensor([1, 2, 2, 3, 2]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss_in_page == pytest.approx(loss.item(), abs=1e-5)
    assert got["losses"][-1] < got["losses"][0] / 2


def test_hello_is_learned_in_the_page_in_three_seconds(open_lecture):
    page = open_lecture("hello")
    took = []
    for _ in range(3):  # the machine may be busy with something else
        page.click("#train")
        until(page, "() => document.querySelector('.stage-figure').dataset.took")
        took.append(float(page.get_attribute(".stage-figure", "data-took")))
        if took[-1] <= 3000:
            break
        go(page, "gates")
        go(page, "hello")
    assert min(took) <= 3000
    assert page.get_attribute(".stage-figure", "data-right") == "4"
    assert page.locator(".lecture-figure .guess.right").count() == 4
    page.click("#again")
    page.click("#one-update")
    page.click("#one-update")
    told = page.inner_text(".stage-readout")
    *_, (updates, loss) = saved_numbers(page)
    assert told.startswith(f"Updates: {updates}. Loss {float(loss):.3f}, ")


def test_the_three_configurations_learn_what_they_are_shown(open_lecture):
    page = open_lecture("configurations")
    done = "() => document.querySelector('.stage-figure').dataset.done === 'true'"

    def said():
        return page.locator(".lecture-figure g > text.glyph").all_text_contents()

    until(page, done)
    assert said()[:3] == ["a", "big", "house"]
    page.get_by_role("button", name="a small heart").click()
    assert said()[:3] == ["a", "small", "heart"]
    page.focus("[data-dot='0']")
    for key in ("ArrowRight", "ArrowUp", " "):  # over the edge, to the lowest row
        page.keyboard.press(key)
    assert page.evaluate("() => document.activeElement.dataset.dot") == "43"
    assert page.get_attribute("[data-dot='43']", "aria-checked") == "true"
    page.click("[data-choice=many]")
    until(page, done)
    for sentence, opinion in (
        ("the film is very bad", "bad"),
        ("the film is not very bad", "good"),
    ):
        page.fill("#sentence", sentence)
        assert said()[-1] == opinion
    page.fill("#sentence", "The film — is NOT bad, very splendid!")
    assert said()[::2] == ["the", "film", "is", "not", "bad", "very"]
    assert "seen: splendid." in page.inner_text(".stage-readout")
    page.fill("#sentence", "the film is not bad " * 2)
    assert said()[::2] == ["is", "not", "bad", "the", "film", "is", "not", "bad"][-7:]
    page.fill("#sentence", "?")
    assert said() == []
    assert len(saved_numbers(page)) == 1  # the header
    page.click("[data-choice=delayed]")
    until(page, done)
    assert [word for word in said() if word in ("a", "porta", "velha")] == ["a", "porta", "velha"]
    assert float(page.get_attribute(".stage-figure", "data-learned")) == 1
    page.click('[data-choice="0"]')
    until(page, done)
    assert float(page.get_attribute(".stage-figure", "data-learned")) < 0.9


def test_the_gradients_of_the_sliders_are_those_of_torch(open_lecture):
    page = open_lecture("gradient")
    for w, bias in ((0.9, 1.0), (1.3, -2.5), (0.2, 4.75)):
        got = run(
            page,
            "return [all.gradient.vanillaReach(arg[0], 30), all.gradient.lstmReach(arg[1], 30)];",
            [w, bias],
        )
        rnn, lstm = nn.RNNCell(1, 1).double(), nn.LSTMCell(1, 1).double()
        with torch.no_grad():
            for weight in (*rnn.parameters(), *lstm.parameters()):
                weight.zero_()
            rnn.weight_ih.fill_(1)
            rnn.weight_hh.fill_(w)
            lstm.bias_ih[1] = bias  # the forget gate
        h, c = (torch.zeros(1, 1).double().requires_grad_() for _ in range(2))
        hs, cs = [h], [c]
        for t in range(1, 31):
            x = torch.full((1, 1), 0.3 * math.sin(t)).double()
            hs.append(rnn(x, hs[-1]))
            cs.append(lstm(x, (torch.zeros_like(c), cs[-1]))[1])
        for states, values in zip((hs, cs), got, strict=True):
            want = torch.autograd.grad(states[-1].sum(), states[::-1])
            torch.testing.assert_close(
                torch.tensor(values), torch.cat(want).flatten().abs().float()
            )
    page.evaluate("""() => {
        const slider = document.querySelector("#bias");
        slider.value = "0";
        slider.dispatchEvent(new Event("input", { bubbles: true }));
    }""")
    assert "0.500" in page.inner_text(".stage-readout")


UNITS = {
    "gates": ("lstm", {"i": [6, 0, -3], "f": [0, 0, 4], "g": [2, 0.3, 0], "o": [0, 0, 1]}),
    "gru": ("gru", {"r": [0, 0, 2], "z": [-5, 0, 3], "n": [2, 0.5, 0]}),
    "janet": ("janet", {"f": [-4, 0, 3], "g": [2, 0.5, 0]}),
    "vanilla": ("rnn", {"a": [1.5, 0.8, 0]}),
}


def test_the_numbers_of_a_cell_are_those_of_its_layer(open_lecture):
    page = open_lecture()
    for scene, (name, weights) in UNITS.items():
        go(page, scene)
        hold_numbers_to_layer(page, name, weights)


def hold_numbers_to_layer(page, name, weights):
    kinds = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU", "janet": "JANET"}
    layer = getattr(unrolled, kinds[name])(1, 1).double()
    with torch.no_grad():
        columns = torch.tensor([*weights.values()]).double().T
        layer.weight_ih_l0.copy_(columns[0][:, None])
        layer.weight_hh_l0.copy_(columns[1][:, None])
        layer.bias_ih_l0.copy_(columns[2])
        layer.bias_hh_l0.zero_()
    inputs = torch.tensor([0, 1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0]).double()[:, None, None]
    (record,) = unrolled.trace(layer, inputs)
    at = 6  # where the second input comes
    for _ in range(at - 1):
        page.click("#next-step")
    shown = dict(
        page.evaluate("""() => [...document.querySelectorAll(".diagram .number")]
            .map((e) => [e.dataset.name, e.textContent])""")
    )
    for each in record.values.keys() & shown.keys():
        assert float(plain(shown[each])) == pytest.approx(record.values[each][at].item(), abs=6e-4)
    assert len(record.values.keys() & shown.keys()) >= (1 if name == "rnn" else 2)


def test_up_and_down_walk_through_the_equations_and_the_rest_through_the_scenes(open_lecture):
    page = open_lecture("gates")
    page.keyboard.press("ArrowDown")
    assert page.locator(".equation-block .operation").count() == 1
    assert page.locator(".diagram.one .part.on").count() > 0
    for key, scene in (
        ("ArrowRight", "gru"),
        ("PageDown", "janet"),
        ("ArrowLeft", "gru"),
        ("Home", "sequence"),
        ("End", "compare"),
    ):
        page.keyboard.press(key)
        page.locator(f'.scene[data-scene="{scene}"]').wait_for()
        assert urlsplit(page.url).fragment == f"lecture/{scene}"
    page.focus("#own-text")
    page.keyboard.press("ArrowLeft")
    assert page.locator('.scene[data-scene="compare"]').count() == 1
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("#keys dt").count() == 6


def test_a_link_opens_its_scene_in_the_language_that_it_names(open_page, lecture):
    page = open_page(at=f"{lecture}", language="en-GB")
    page.goto(f"{lecture}/#lecture/janet/pt-BR")
    page.reload()
    page.locator('.scene[data-scene="janet"] .exercise').first.wait_for()
    assert page.get_attribute("html", "lang") == "pt-BR"
    page.select_option("#language", "en")
    until(page, "() => document.documentElement.lang === 'en'")
    assert page.locator('.scene[data-scene="janet"]').count() == 1
    assert urlsplit(page.url).fragment == "lecture/janet"  # opened again, it is in English
    page.evaluate("() => { location.hash = 'lecture/gru/pt-BR' }")  # a link on the page itself
    until(page, "() => document.documentElement.lang === 'pt-BR'")
    assert page.locator('.scene[data-scene="gru"]').count() == 1


def test_a_scene_that_there_is_not_is_said_and_the_first_one_shown(open_page, lecture):
    page = open_page(at=lecture)
    for name in ("nonsense", "toString", "__proto__", "gates%2F", "<b>"):
        go(page, "gates")
        assert page.is_hidden("#notice")
        page.evaluate("name => { location.hash = `lecture/${name}/xx` }", name)
        page.locator('.scene[data-scene="sequence"]').wait_for()
        assert page.inner_text("#notice").startswith("There is no scene “")
        assert page.get_attribute("html", "lang") == "en"


def test_runs_and_lecture_lead_to_each_other(open_page):
    page = open_page(view="unroll", run="lstm")
    page.click("footer a[href='#lecture']")
    page.locator(".scene .exercise").first.wait_for()
    page.go_back()
    page.locator(".unrolled").wait_for()


def test_a_figure_is_saved_as_it_looks_with_its_numbers(open_lecture, tmp_path):
    page = open_lecture(theme="dark")
    for scene in ("hello", "gates", "configurations"):
        go(page, scene)
        hold_files_to_figure(page, scene, tmp_path)


def hold_files_to_figure(page, scene, tmp_path):
    files = {}
    for kind in ("svg", "png", "csv"):
        with page.expect_download() as download:
            page.click(f"[data-file={kind}]")
        assert download.value.suggested_filename == f"{scene}.{kind}"
        files[kind] = tmp_path / f"{scene}.{kind}"
        download.value.save_as(files[kind])
    root = ElementTree.parse(files["svg"]).getroot()
    drawn = [*root.iter("{http://www.w3.org/2000/svg}text")]
    assert drawn
    assert all(each.get("fill", "").startswith("rgb") for each in drawn)  # without a style sheet
    assert not [each for each in root.iter() if each.get("class") or each.get("style")]
    assert not re.search(r"color\(|rgba\(", files["svg"].read_text())
    png = files["png"].read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(png[16:20]) == 2 * round(float(root.get("width")))
    header, *rows = csv.reader(files["csv"].read_text().splitlines())
    assert len(header) >= 2
    assert rows
    assert all(len(row) == len(header) for row in rows)


def test_gru_and_lstm_race_on_a_text_of_the_readers(open_lecture):
    page = open_lecture("compare")
    page.fill("#own-text", "abc" * 20)
    page.click("#train")
    until(page, "() => /200/.test(document.querySelector('.stage-readout').textContent)")
    weights = run(
        page,
        "const n = all.compare.contestants(cells, 30);"
        "return [n.lstm.numWeights, n.gru.numWeights];",
    )
    assert weights[0] == pytest.approx(weights[1], rel=0.03)
    text = "to be or not to be, that is the question. " * 12
    page.fill("#own-text", text)
    go(page, "gradient")
    go(page, "compare")  # the text is still there
    page.click("#train")
    told = "document.querySelector('.stage-readout').textContent"
    until(page, f"() => Number(/[0-9]+/.exec({told})?.[0]) >= 48")
    bits = [float(each) for each in re.findall(r"\d\.\d\d", page.inner_text(".stage-readout"))]
    assert len(bits) == 2
    assert max(bits) < math.log2(len(set(text))) - 1
    page.fill("#own-text", "a" * 2999 + "\N{GRINNING FACE}" * 2)
    assert "cut off" in page.inner_text(".stage-readout")
    page.fill("#own-text", "")
    page.click("#train")
    assert "NaN" not in page.inner_html(".stage-figure")
