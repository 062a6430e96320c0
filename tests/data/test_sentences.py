"""Sentences to numbers and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data import SentenceVocabulary
from unrolled.data.options import SENTENCE_TOKENS
from unrolled.data.words import BEGIN, END, UNKNOWN
from unrolled.errors import OptionError

SENTENCES = ["Je t'aime.", "Va !", "Où est-il ?", "It's 10:30 (p.m.)…", "日本語"]
every = pytest.mark.parametrize("tokens", SENTENCE_TOKENS)


def make(tokens, sentences=SENTENCES, max_size=None):
    return SentenceVocabulary.from_sentences(tokens, sentences, max_size or 300)


@every
def test_what_was_seen_comes_back_as_it_was(tokens):
    vocabulary = make(tokens)
    for sentence in SENTENCES:
        ids = vocabulary.encode(sentence)
        assert vocabulary.decode([BEGIN, *ids.tolist(), END]) == sentence
        assert int(ids.min()) > END
        assert int(ids.max()) < len(vocabulary)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_bpe_writes_any_text_but_for_doubled_blanks(text):
    vocabulary = make("bpe")
    assert vocabulary.decode(vocabulary.encode(text)) == " ".join(text.split())


@every
def test_a_dictionary_in_json_makes_the_same_vocabulary(tokens):
    vocabulary = make(tokens)
    again = SentenceVocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))
    assert len(again) == len(vocabulary)
    for sentence in (*SENTENCES, "Unbekannt"):
        assert again.encode(sentence).equal(vocabulary.encode(sentence))


@pytest.mark.parametrize("tokens", ["word", "char"])
def test_what_was_not_seen_is_unknown(tokens):
    vocabulary = make(tokens)
    assert vocabulary.encode("Ж").tolist()[-1] == UNKNOWN
    assert vocabulary.decode([UNKNOWN]) == "<unk>"


@every
def test_the_size_is_bounded(tokens):
    size = 260 if tokens == "bpe" else 4
    assert len(make(tokens, max_size=size)) == size + 3


@pytest.mark.parametrize("tokens", ["word", "char"])
def test_what_is_too_rare_is_unknown(tokens):
    sentences = ["a b", "a c"]
    vocabulary = SentenceVocabulary.from_sentences(tokens, sentences, min_count=2)
    assert vocabulary.decode(vocabulary.encode("a c")).endswith("<unk>")
    assert vocabulary.decode(vocabulary.encode("a")) == "a"


@every
def test_tokens_are_shown_with_their_blanks(tokens):
    vocabulary = make(tokens)
    shown = vocabulary.tokens_of([BEGIN, *vocabulary.encode("Va !").tolist(), END])
    assert shown[0] == "<s>"
    assert shown[-1] == "</s>"
    joined = "".join(shown[1:-1])
    assert joined == ("Va␣!" if tokens == "char" else "␣Va␣!")


@every
def test_an_empty_sentence_has_no_tokens(tokens):
    assert len(make(tokens).encode(" ")) == 0
    assert make(tokens).decode([]) == ""


def test_tokens_of_another_kind_are_refused():
    with pytest.raises(OptionError, match="tokens must be one of word, bpe, char, got 'byte'"):
        make("byte")
