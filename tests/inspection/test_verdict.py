"""What a verdict is called: one mark and one set of words, whoever shows it."""

import math
import re

import pytest
import torch

from unrolled.errors import OptionError
from unrolled.inspection import Reach, verdict
from unrolled.inspection.verdict import MARKS
from unrolled.languages import language_names, load_words

LAGS = torch.arange(40)


def reach(curve, name="h", keep_gate=None):
    return Reach(LAGS, {name: torch.tensor([[curve(k) for k in range(40)]])}, keep_gate)


# what each verdict comes of, and a part of its sentence in both languages
CASES = {
    "healthy": (
        reach(lambda k: 1.0),
        ("1 % or more is left up to 39 characters back", "39 caracteres atrás"),
    ),
    "fading": (
        reach(lambda k: 0.7**k),
        ("up to 12 characters back, of 20 wanted.", "12 caracteres atrás, e querem-se 20."),
    ),
    "vanishing": (
        reach(lambda k: 0.5**k),
        ("up to 6 characters back, of 20 wanted;", "6 caracteres atrás, e querem-se 20;"),
    ),
    "exploding": (
        reach(lambda k: 1.2**k),
        ("times as long 13 characters back.", "vezes maior 13 caracteres atrás."),
    ),
    "edge": (reach(lambda k: float(k < 5), "x"), ("but 5 characters", "5 caracteres")),
    "none": (reach(lambda k: float(k < 0)), ("no gradient", "nenhum gradiente")),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_verdict_is_said_in_every_language_with_one_mark(kind):
    measured, parts = CASES[kind]
    judged = verdict(measured, wanted=20, unit="character")
    assert judged.kind == kind
    for code, part in zip(("en", "pt-BR"), parts, strict=True):
        said = judged.say(code)
        assert said.head == load_words(code)["verdict"]["kinds"][kind]
        assert said.mark == MARKS[kind]
        assert part in said.sentence.lower()
        assert said.sentence.endswith(".")
        assert said.sentence[0].isupper()
        assert "{" not in said.sentence + said.advice


def test_a_mark_stands_for_one_verdict():
    assert len(set(MARKS.values())) == len(MARKS)
    for code in language_names():
        heads = load_words(code)["verdict"]["kinds"]
        assert heads.keys() == MARKS.keys()
        assert len(set(heads.values())) == len(MARKS)


@pytest.mark.parametrize("code", ["en", "pt-BR"])
@pytest.mark.parametrize("factor", [0.7, 0.5])
def test_the_advice_names_the_cells_own_gate_if_it_has_one(code, factor):
    own = verdict(reach(lambda k: factor**k, keep_gate="q"), wanted=20).say(code).advice
    assert " q " in own
    assert "40" in own
    plain = verdict(reach(lambda k: factor**k), wanted=20).say(code).advice
    assert " q " not in plain
    assert all(cell in plain for cell in ("LSTM", "GRU", "JANET"))


@pytest.mark.parametrize(
    ("left", "kind"), [(0.9, "healthy"), (0.8, "fading"), (0.7, "vanishing"), (0.5, "vanishing")]
)
def test_a_convolution_is_judged_by_the_rule_of_all(left, kind):
    """0.9 ** 30 is over a hundredth, and 0.8 ** 20 but not 0.7 ** 15: whoever carries it."""
    for name in ("h", "x"):
        judged = verdict(reach(lambda k: left**k * (k < 38), name), wanted=30)
        assert judged.kind == kind
        assert ("kernel" in judged.advice) == (kind != "healthy" and name == "x")


@pytest.mark.parametrize(
    ("field", "horizon", "kind"),
    [
        (21, 20, "edge"),
        (21, 10, "edge"),  # half of the last lag that is seen
        (21, 9, "vanishing"),
        (29, 13, "vanishing"),
        (1, 0, "edge"),  # all that is seen is felt
        (2, 0, "vanishing"),
    ],
)
def test_a_field_is_an_edge_if_a_hundredth_is_left_to_half_of_it(field, horizon, kind):
    def curve(k):
        return 1.0 if k == 0 else 0.01 if k <= horizon else 0.009 if k < field else 0.0

    judged = verdict(reach(curve, "x"), wanted=30)
    assert (judged.kind, judged.horizon_steps) == (kind, horizon)
    assert judged.values.get("edge") == (field if kind == "edge" else None)


def test_a_gated_cell_is_not_told_to_have_gates():
    fading = Reach(LAGS, reach(lambda k: 0.7**k).by_state, gated=True)
    for code in ("en", "pt-BR"):
        advice = verdict(fading, wanted=20).say(code).advice
        assert "LSTM" not in advice
        assert "keeps" in advice


def test_a_loss_felt_at_the_last_lag_measured_is_not_said_to_fade():
    judged = verdict(reach(lambda k: 0.95**k), wanted=64)
    assert judged.kind == "healthy"
    assert "all that was measured" in judged.sentence
    assert verdict(reach(lambda k: 0.7**k), wanted=64).kind == "vanishing"  # 12 of 64
    with pytest.raises(OptionError, match="at least 1"):
        verdict(reach(lambda k: 1.0), wanted=0)


@pytest.mark.parametrize("factor", [0.98, 0.7, 0.5, 1e-3, 1.3])
def test_a_sentence_has_no_second_length_that_may_contradict_the_first(factor):
    """A curve with a cliff halves slowly by the line through it, and is lost at the cliff."""
    cliff = verdict(reach(lambda k: factor**k if k < 3 else 9e-3 * 0.99**k), wanted=20)
    for code in ("en", "pt-BR"):
        steps = r"[0-9.,]+ (?:steps?|passos?)"
        assert len(re.findall(steps, cliff.say(code).sentence)) <= 1
    if factor == 0.98:
        assert cliff.half_life_steps > cliff.horizon_steps == 2
    if factor == 1e-3:
        assert cliff.sentence == "gradients vanish at once: less than 1 % is left one step back"


def test_one_step_is_not_steps():
    judged = verdict(reach(lambda k: 30.0**k if k < 20 else math.inf), unit="word")
    assert "1 word back" in judged.sentence
    assert "1 palavra atrás" in judged.say("pt-BR").sentence


def test_the_page_of_a_report_shows_the_mark_and_words_of_the_table():
    from unrolled.inspection import sections

    assert not hasattr(sections, "_MARKS")
