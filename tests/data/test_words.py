import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.words import (
    BEGIN,
    END,
    TEXT_VERSION,
    UNKNOWN,
    WordVocabulary,
    as_read,
    cut_sentence,
    cut_text,
    cut_tokens,
    split_words,
    text_version_of,
    unknown_note,
)
from unrolled.errors import VocabularyError


def test_words_are_numbered_by_frequency_and_unknown_ones_share_a_number():
    vocabulary = WordVocabulary.from_sentences([["b", "a", "b"], ["c", "a", "b"]], min_count=2)
    assert vocabulary.encode(["b", "a", "c", "never"]).tolist() == [3, 4, UNKNOWN, UNKNOWN]
    assert vocabulary.decode([3, 4, UNKNOWN, BEGIN, END]) == ["b", "a", "<unk>", "<s>", "</s>"]
    assert len(vocabulary) == 5


def test_no_words_are_a_tensor_of_whole_numbers():
    ids = WordVocabulary(["a"]).encode([])
    assert ids.shape == (0,)
    assert not ids.is_floating_point()


def test_a_text_that_spells_a_special_word_does_not_forge_it():
    vocabulary = WordVocabulary.from_sentences([["</s>", "a", "<unk>"]])
    assert len(vocabulary) == 4


def test_a_vocabulary_survives_json():
    vocabulary = WordVocabulary.from_sentences([["né", "a"]])
    again = WordVocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))
    assert again.decode(range(len(again))) == vocabulary.decode(range(len(vocabulary)))


@pytest.mark.parametrize("words", [["a", "a"], ["<s>"]])
def test_a_word_twice_is_refused(words):
    with pytest.raises(VocabularyError, match="twice"):
        WordVocabulary(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("it's so-so , he said", ["it's", "so-so", ",", "he", "said"]),
        ("A última página?!", ["A", "última", "página", "?", "!"]),
        ("", []),
        (" \t\n", []),
    ],
)
def test_text_is_split_into_words_and_marks(text, words):
    assert split_words(text) == words


TEXTS = [
    "आधुनिक हिन्दी",
    "మీరు ఎలా ఉన్నారు",
    "สวัสดีครับ",
    "שָׁלוֹם עוֹלָם",
    "مُحَمَّد می\u200cخواهم",  # noqa: RUF001
    "cafe\u0301 à la",
    "👨\u200d👩\u200d👧 👍🏽🇧🇷1️⃣",
    "第12次カメラ、これは",
    "co\u00adop b\u200f x\u200e.",
    " \u0301alone\u0301",
    "a\x1cb\r\n\u2028c\u3000d",
]


@pytest.mark.parametrize("compounds", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_a_cut_text_is_whole_and_no_piece_begins_with_a_mark(text, compounds):
    pieces = cut_text(text, compounds=compounds)
    assert "".join(pieces) == as_read(text)
    assert not any(unicodedata.category(piece.lstrip()[0]).startswith("M") for piece in pieces[1:])
    assert "".join(cut_sentence(text, compounds=compounds)).strip() == as_read(text).strip()


@given(st.text())
def test_any_text_is_cut_without_loss(text):
    assert "".join(cut_text(text)) == as_read(text)[: len("".join(cut_text(text)))]
    assert "".join(cut_text(text)).rstrip() == as_read(text).rstrip()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("आधुनिक हिन्दी", ["आधुनिक", "हिन्दी"]),
        ("שָׁלוֹם עוֹלָם", ["שָׁלוֹם", "עוֹלָם"]),
        ("cafe\u0301", ["café"]),
        ("👨\u200d👩\u200d👧", ["👨\u200d👩\u200d👧"]),
        ("我看见3只狗", ["我", "看", "见", "3", "只", "狗"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("co\u00adop", ["co\u00adop"]),
    ],
)
def test_marks_stay_with_their_letters_and_scripts_without_blanks_are_cut(text, words):
    assert split_words(text) == words


@given(st.text(st.characters(max_codepoint=0x24F, exclude_categories=["Cf", "Cs"])))
def test_latin_text_is_cut_as_it_was_by_older_versions(text):
    if as_read(text) == text:
        assert split_words(text) == split_words(text, version=1)


def test_a_run_keeps_the_version_it_was_trained_with():
    assert text_version_of({}) == 1
    assert text_version_of({"text_version": 2}) == TEXT_VERSION
    for wrong in (0, 3, "2", True, 1.5):
        with pytest.raises(ValueError, match="text_version"):
            text_version_of({"text_version": wrong})


def test_a_note_says_that_most_words_are_unknown():
    assert unknown_note(5, 10, "held-out part", "use characters") == []
    (note,) = unknown_note(6, 10, "held-out part", "use characters")
    assert note.startswith("6 of 10 words (60%) of the held-out part are unknown")


@given(st.text(st.one_of(st.characters(), st.sampled_from(" \t\n\r\x1c\u0301\u200d<>'हि我"))))
def test_tokens_of_a_text_are_the_text_as_it_stands(text):
    assert "".join(cut_tokens(text)) == text


def test_tokens_keep_marks_and_cut_scripts_without_blanks():
    assert cut_tokens("cafe\u0301 l\u2019eau हिन्दी我们 <unk>") == [
        "cafe\u0301",
        " l\u2019eau",
        " हिन्दी",
        "我",
        "们",
        " <unk>",
    ]
