"""BLEU and chrF are sacrebleu's; exact matches are counted here."""

import pytest
import sacrebleu

from unrolled.errors import OptionError
from unrolled.metrics.text import text_metrics

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
