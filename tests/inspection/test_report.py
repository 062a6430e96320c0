"""A report says what was measured, of any model and any text. The file that it is part of, and what
is drawn in it, are tested in tests/serving/test_living.py and tests/browser."""

import html
import json
import re

import pytest
import torch

import unrolled
from unrolled.data import ByteVocabulary, CharVocabulary
from unrolled.inspection.report import Facts, report
from unrolled.networks import LayerOptions
from unrolled.tasks.lm import LanguageModel
from unrolled.tasks.lm.subject import LanguageSubject

PLAY = "".join(
    f'{name}:\nWhat (say I) of {thing}, "good {thing}", and of all that is in it?\n\n'
    for name, thing in [("ROMEO", "night"), ("JULIET", "day"), ("NURSE", "bread")] * 8
)


def model_of(cell: str, vocabulary: object, **options: object) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(
        LayerOptions(cell=cell, hidden_size=8, **options), vocabulary_size=len(vocabulary)
    ).eval()


def report_on(
    text: str,
    vocabulary: object,
    model: LanguageModel,
    facts: Facts | None = None,
    beside: dict[str, LanguageModel] | None = None,
    language: str = "en",
) -> str:
    others = {name: LanguageSubject(other, vocabulary) for name, other in (beside or {}).items()}
    written = report(
        LanguageSubject(model, vocabulary),
        lambda subject: subject.passages([text]),
        facts or Facts("it"),
        beside=others,
        language=language,
    )
    return written.page.markup()


def words(page: str) -> str:
    """What one reads on the page, without the figures."""
    body = re.sub(r"<(script|style)[^>]*>.*?</\1>", " ", page, flags=re.S)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", body)))


def figures_of(page: str) -> list[dict]:
    found = re.findall(r'<script type="application/json">(.*?)</script>', page, flags=re.S)
    return [json.loads(content) for content in found]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "janet", "tcn", "conv", "dense"])
def test_every_cell_has_a_report(cell):
    vocabulary = CharVocabulary.from_text(PLAY)
    layers = 2 if cell in ("lstm", "tcn") else 1
    page = report_on(PLAY, vocabulary, model_of(cell, vocabulary, num_layers=layers))
    said = words(page)
    assert "How far back does learning reach?" in said
    assert "inside a speaker's name" in said
    assert ("How long do units remember?" in said) == (cell in ("rnn", "lstm", "gru", "janet"))
    assert len(figures_of(page)) >= 4
    for figure in figures_of(page):
        assert figure["layout"]["height"] > 0


def test_nothing_in_a_text_or_a_name_is_taken_for_markup():
    text = '</script><img src=x onerror="alert(1)"> &lt; <b>' * 4
    vocabulary = CharVocabulary.from_text(text)
    model = model_of("gru", vocabulary)
    page = report_on(text, vocabulary, model, Facts("<i>it</i>"), beside={"<u>": model})
    assert "<img" not in page
    assert "<i>" not in page
    assert page.count("</script>") == page.count("<script")


def test_a_report_says_what_was_left_out(monkeypatch):
    monkeypatch.setattr("unrolled.inspection.reading._MOST", 300)
    vocabulary = CharVocabulary.from_text(PLAY)
    page = report_on(PLAY, vocabulary, model_of("gru", vocabulary))
    assert f"Looked at the first 300 characters of {len(PLAY):,}" in words(page)


def test_the_numbers_of_a_report_are_those_of_the_library():
    vocabulary = CharVocabulary.from_text(PLAY)
    model = model_of("janet", vocabulary)
    tokens = vocabulary.encode(PLAY)
    with torch.no_grad():
        scores, _ = model(tokens[None])
    loss = torch.nn.functional.cross_entropy(scores[0, :-1], tokens[1:])
    page = report_on(PLAY, vocabulary, model, Facts("it", {"trained on": "a play"}))
    assert f"nats/token, here{loss:.3f}" in words(page)
    assert "trained ona play" in words(page)


def test_tokens_that_are_no_characters_have_a_report_too():
    vocabulary = ByteVocabulary()
    text = PLAY.replace("night", "núit").replace("day", "日")
    page = report_on(text, vocabulary, model_of("gru", vocabulary))
    assert "tokens earlier" in words(page)
    assert "inside a speaker's name" in words(page)


def test_a_text_without_patterns_has_no_such_section():
    vocabulary = CharVocabulary.from_text("ab")
    page = report_on("a" * 40, vocabulary, model_of("gru", vocabulary))
    assert "single units" not in words(page)


@pytest.mark.parametrize("length", [24, 25, 30, 61])
def test_short_texts_are_enough(length):
    vocabulary = CharVocabulary.from_text(PLAY)
    report_on(PLAY[:length], vocabulary, model_of("lstm", vocabulary), Facts("it", wanted=64))


def test_a_report_on_a_short_text_has_the_verdict_of_the_run():
    vocabulary = CharVocabulary.from_text(PLAY)
    model, facts = model_of("lstm", vocabulary), Facts("it", wanted=64)
    subject = LanguageSubject(model, vocabulary)

    def reading(text):
        return lambda which: which.passages([text])

    whole = report(subject, reading(PLAY), facts).page.markup()
    short = report(subject, reading(PLAY[:45]), facts, held_out=reading(PLAY)).page.markup()
    alone = report(subject, reading(PLAY[:45]), facts).page.markup()
    sentence = re.compile(r"(?s)<div class=\"verdict.*?</div>")
    assert sentence.findall(short) == sentence.findall(whole) != sentence.findall(alone)
    assert "64: where training cuts" in whole
    assert "64: where training cuts" in short
    assert "of the held-out part, for too little was given" in words(short)
    assert "where training cuts" not in alone  # nor at any other place


def test_too_short_a_text_is_refused():
    vocabulary = CharVocabulary.from_text(PLAY)
    with pytest.raises(unrolled.UnrolledError, match="5 characters, at least 24"):
        report_on(PLAY[:5], vocabulary, model_of("lstm", vocabulary))
    with pytest.raises(unrolled.UnrolledError, match="vocabulary"):
        report_on("ж" * 50, vocabulary, model_of("lstm", vocabulary))


ENGLISH = r"(?i)\b(the|of|and|units?|gradient|loss|steps?|layer|before|after|training|share|back)\b"


@pytest.mark.parametrize("cell", ["lstm", "janet", "tcn"])
def test_a_report_in_portuguese_has_no_english_and_the_signs_of_portuguese(cell):
    vocabulary = CharVocabulary.from_text(PLAY)
    model = model_of(cell, vocabulary, num_layers=2)
    facts = Facts("it", {"task": "lm"}, wanted=8, curves={"training": [(1, 2.5), (2, 1.25)]})
    page = report_on(PLAY, vocabulary, model, facts, beside={"b": model}, language="pt-BR")
    said = words(page)
    assert not re.findall(ENGLISH, said)
    assert not re.findall(r"\d\.\d(?!\d\d)", said)
    assert "Até onde o aprendizado alcança?" in said
    assert "1,250" in said
    assert "tarefalm" in said
    for figure in figures_of(page):
        assert figure["layout"]["separators"] == ",."
        titles = [
            axis["title"]["text"]
            for name, axis in figure["layout"].items()
            if name.startswith(("xaxis", "yaxis")) and "text" in axis.get("title", {})
        ]
        hovers = [trace.get("hovertemplate", "") for trace in figure["data"]]
        names = [trace["name"] for trace in figure["data"] if "name" in trace]
        notes = [each["text"] for each in figure["layout"].get("annotations", ())]
        for text in (*titles, *hovers, *names, *notes):
            assert not re.findall(ENGLISH, text), text


def test_a_report_is_in_a_language_that_there_is():
    vocabulary = CharVocabulary.from_text(PLAY)
    with pytest.raises(unrolled.errors.OptionError, match="no language 'xx'"):
        report_on(PLAY, vocabulary, model_of("gru", vocabulary), language="xx")
