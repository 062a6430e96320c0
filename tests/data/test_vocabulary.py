import json
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data import (
    BPEVocabulary,
    ByteVocabulary,
    CharVocabulary,
    Vocabulary,
    WordTokenVocabulary,
    vocabulary_from_dict,
)
from unrolled.errors import OptionError, VocabularyError

TEXT = "to be, or not to be: that is the question.\r\n  Ser ou não ser, eis a questão 𝄞\n\n" * 3
BPE = BPEVocabulary.train(TEXT, size=280)
WORDS = WordTokenVocabulary.from_text(TEXT, size=270)

# Line ends of every kind, spaces, combining marks and what lies beyond 16 bits come up often.
texts = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(" \t\n\r\x0b\x0c\x85\u2028e\u0301\ufeff'0𝄞🏳\u200d🌈"),
    )
)


def vocabularies(text: str) -> list[Vocabulary]:
    return [CharVocabulary.from_text(text), ByteVocabulary(), BPE, WORDS]


@given(texts)
def test_decoding_gives_back_the_text(text):
    for vocabulary in vocabularies(text):
        ids = vocabulary.encode(text)
        assert (ids.dtype, ids.ndim) == (torch.int64, 1)
        assert vocabulary.decode(ids) == vocabulary.decode(ids.tolist()) == text


@given(texts)
def test_pieces_of_the_decoder_are_the_text_and_come_as_soon_as_they_can(text):
    for vocabulary in vocabularies(text):
        ids = vocabulary.encode(text).tolist()
        decoder = vocabulary.decoder()
        pieces = [decoder.push(id) for id in ids]
        assert decoder.finish() == ""
        assert "".join(pieces) == text
        for end in range(len(ids)):
            complete = vocabulary.decode(ids[:end]).rstrip("\ufffd")
            assert "".join(pieces[:end]).startswith(complete)


@given(st.binary(max_size=20))
def test_a_model_may_write_bytes_that_are_no_text(content):
    vocabulary = ByteVocabulary()
    decoder = vocabulary.decoder()
    text = "".join(decoder.push(byte) for byte in content) + decoder.finish()
    assert text == vocabulary.decode(list(content)) == content.decode(errors="replace")


@given(st.lists(st.integers(0, len(BPE) - 1)))
def test_a_model_may_write_bpe_tokens_in_any_order(ids):
    decoder = BPE.decoder()
    assert "".join(map(decoder.push, ids)) + decoder.finish() == BPE.decode(ids)


def test_half_a_character_is_withheld_until_it_is_whole_or_the_text_ends():
    decoder = ByteVocabulary().decoder()
    assert [decoder.push(byte) for byte in "𝄞".encode()] == ["", "", "", "𝄞"]
    assert decoder.push("é".encode()[0]) == ""
    assert decoder.finish() == "\ufffd"


def test_characters_are_numbered_in_the_order_of_unicode():
    vocabulary = CharVocabulary.from_text("b𝄞aéb\n")
    assert [vocabulary.symbols(id) for id in range(len(vocabulary))] == list("\nabé𝄞")
    assert vocabulary.encode("𝄞\nb").tolist() == [4, 0, 2]


def test_unseen_characters_are_named_at_most_five_of_them():
    vocabulary = CharVocabulary.from_text("hello")
    with pytest.raises(VocabularyError) as caught:
        vocabulary.encode("hey, 𝄞é\n")
    assert caught.value.message == (
        "the vocabulary of 4 characters lacks '\\n' (U+000A), ' ' (U+0020), ',' (U+002C), "
        "'y' (U+0079), 'é' (U+00E9) and 1 more"
    )
    assert "byte" in caught.value.hint


@pytest.mark.parametrize("text", ["!", "~", "\U0010ffff", "\ud800"])
def test_unseen_characters_before_between_and_after_the_known_are_all_found(text):
    with pytest.raises(VocabularyError, match=f"U\\+{ord(text):04X}"):
        CharVocabulary.from_text("+a").encode(f"a{text}+")


@pytest.mark.parametrize(
    "make", [ByteVocabulary, lambda: BPE, lambda: WORDS], ids=["byte", "bpe", "word"]
)
def test_half_a_surrogate_pair_is_no_text(make):
    with pytest.raises(VocabularyError, match=r"character 2 is half .*U\+D800"):
        make().encode("ab\ud800")


@pytest.mark.parametrize("text", ["ba", "aa"])
def test_a_char_vocabulary_that_would_number_wrongly_is_refused(text):
    with pytest.raises(VocabularyError, match="different and in order"):
        CharVocabulary(text)


def test_symbols_that_are_no_text_on_their_own_are_shown_as_bytes():
    assert [ByteVocabulary().symbols(id) for id in (0x41, 0xC3)] == ["A", r"\xc3"]
    assert len({BPE.symbols(id) for id in range(len(BPE))}) == len(BPE)


def test_bpe_learns_what_is_frequent_and_keeps_every_byte():
    assert len(BPE) == 280
    assert {BPE.decode([id]) for id in range(280)} >= {chr(code) for code in range(128)}
    assert len(BPE.encode(TEXT)) < len(ByteVocabulary().encode(TEXT)) / 1.5


def test_bpe_of_a_short_text_has_as_many_tokens_as_there_are_pairs():
    assert len(BPEVocabulary.train("ab", size=10**15)) == 257


def test_bpe_training_is_repeatable():
    assert BPEVocabulary.train(TEXT, size=280).to_dict() == BPE.to_dict()


def test_bpe_is_the_same_however_many_lines_are_encoded_at_once(monkeypatch):
    whole = BPE.encode(TEXT)
    for lines in (1, 2, 1000):
        monkeypatch.setattr("unrolled.data.vocabulary._LINES_AT_ONCE", lines)
        assert BPE.encode(TEXT).equal(whole)


def test_words_keep_the_blank_before_them_and_rare_ones_are_spelled():
    text = "the cat's well-made <unk> hat .\n" * 2 + "the dog\n"
    vocabulary = WordTokenVocabulary.from_text(text, size=10_000)
    shown = [vocabulary.symbols(id) for id in vocabulary.encode(" the cat's <unk> dog.\n").tolist()]
    assert shown == [" ", "t", "h", "e", " cat's", " <unk>", " ", "d", "o", "g", ".", "\n"]
    assert vocabulary.encode("the").tolist() == [256]  # the most frequent word is the first
    assert vocabulary.spelled(" the hat") == 0.5  # " hat" is known
    assert vocabulary.spelled("\n") == 0


def test_a_vocabulary_of_words_has_at_most_its_size():
    assert len(WordTokenVocabulary.from_text("one two one two one", size=257)) == 257
    assert len(WordTokenVocabulary.from_text("one two", size=1000)) == 256
    with pytest.raises(OptionError, match="at least 256 tokens, got 255"):
        WordTokenVocabulary.from_text(TEXT, size=255)


def test_bpe_smaller_than_the_bytes_is_refused():
    with pytest.raises(OptionError, match="at least 256 tokens, got 255"):
        BPEVocabulary.train(TEXT, size=255)


def test_bpe_without_its_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(OptionError, match=r"unrolled\[bpe\]"):
        BPEVocabulary.train(TEXT, size=280)


@pytest.mark.parametrize("vocabulary", vocabularies(TEXT), ids=lambda v: v.kind)
def test_a_vocabulary_is_the_same_after_json(vocabulary):
    content = json.loads(json.dumps(vocabulary.to_dict()))
    assert content["kind"] == vocabulary.kind
    again = vocabulary_from_dict(content)
    assert type(again) is type(vocabulary)
    assert again.to_dict() == vocabulary.to_dict()
    assert again.encode(TEXT).equal(vocabulary.encode(TEXT))


def test_a_bpe_vocabulary_without_its_library_names_the_extra(monkeypatch):
    content = BPE.to_dict()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(OptionError, match=r"unrolled\[bpe\]"):
        vocabulary_from_dict(content)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"kind": "word"},
        {"kind": ["char"]},
        {"kind": "char"},
        {"kind": "word", "words": ["to", "be", "to"]},
        {"kind": "word", "words": ["a"]},  # a byte is a token anyway
        {"kind": "char", "symbols": [1]},
        {"kind": "char", "symbols": ["b", "a"]},
        {"kind": "bpe", "tokenizer": 1},
    ],
)
def test_a_damaged_vocabulary_is_named(content):
    with pytest.raises(ValueError, match="not a vocabulary"):
        vocabulary_from_dict(content)
