"""BLEU and chrF are sacrebleu's; exact matches are counted here."""

import pytest
import sacrebleu

from unrolled.errors import OptionError
from unrolled.metrics.text import are_short, metrics_of_texts, text_metrics

WRITTEN = ["Il pleut beaucoup aujourd'hui.", "Je suis là, mon ami.", "Non."]
REFERENCES = [["Il pleut beaucoup ce jour."], ["Je suis ici, mon ami."], ["Non."]]


def test_one_reference_gives_what_sacrebleu_gives():
    columns = [[own[0] for own in REFERENCES]]
    scores = text_metrics(WRITTEN, REFERENCES)
    assert scores["bleu"] == pytest.approx(sacrebleu.corpus_bleu(WRITTEN, columns).score)
    assert scores["chrf"] == pytest.approx(sacrebleu.corpus_chrf(WRITTEN, columns).score)
    assert 0 < scores["bleu"] < scores["chrf"] < 100
    assert scores["exact_match"] == pytest.approx(1 / 3)
    assert scores["bleu_signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|")
    assert scores["chrf_signature"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|")


def test_more_references_are_all_taken_as_right():
    several = [[*own, text] for own, text in zip(REFERENCES, WRITTEN, strict=True)]
    scores = text_metrics(WRITTEN, several)
    assert scores["bleu"] == pytest.approx(100)
    assert scores["exact_match"] == 1


def test_sentences_may_have_different_numbers_of_references():
    several = [REFERENCES[0], [*REFERENCES[1], WRITTEN[1]], REFERENCES[2]]
    assert text_metrics(WRITTEN, several)["bleu"] > text_metrics(WRITTEN, REFERENCES)["bleu"]
    assert text_metrics(WRITTEN, several)["bleu_signature"].startswith("nrefs:var|")


@pytest.mark.parametrize(("written", "references"), [([], []), (["a"], []), (["a"], [[]])])
def test_nothing_to_compare_is_refused(written, references):
    with pytest.raises(OptionError, match="every sentence needs a reference"):
        text_metrics(written, references)


@pytest.mark.parametrize(
    ("text", "wrong", "tokenizer"),
    [
        ("我看见3只狗在公园里跑", "我看见4只狗在公园里跑", "zh"),
        ("私は公園で三匹の犬が走るのを見た", "私は公園で四匹の犬が走るのを見た", "char"),
        ("ฉันเห็นสุนัขสามตัววิ่งในสวน", "ฉันเห็นสุนัขสี่ตัววิ่งในสวน", "char"),
        ("Я вижу трёх собак в парке", "Я вижу двух собак в парке", "13a"),
    ],
)
def test_bleu_cuts_texts_as_their_script_wants_and_says_so(text, wrong, tokenizer):
    scores = text_metrics([text] * 3, [[wrong]] * 3)
    expected = sacrebleu.corpus_bleu([text] * 3, [[wrong] * 3], tokenize=tokenizer).score
    assert scores["bleu"] == pytest.approx(expected)
    assert scores["bleu"] > 20
    assert f"tok:{tokenizer}|" in scores["bleu_signature"]


def test_bleu_is_not_given_where_the_references_themselves_have_none():
    right = ["Greek letter 12", "Latin letter 3"]
    scores = text_metrics(right, [[text] for text in right], short=True)
    assert list(scores)[:3] == ["exact_match", "chrf", "bleu"]
    assert scores["exact_match"] == 1
    assert scores["bleu"] is None
    assert text_metrics(["no", "no"], [["a b c d e"], ["x"]])["bleu"] == 0.0


def test_texts_are_short_where_most_have_fewer_than_four_words():
    assert are_short([1, 3, 9])
    assert not are_short([4, 4, 1])
    assert metrics_of_texts(short=True)[0].name == "exact_match"
    assert metrics_of_texts(short=False)[0].name == "bleu"
