import json

import pytest

from unrolled.data.words import BEGIN, END, UNKNOWN, WordVocabulary, split_words
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
