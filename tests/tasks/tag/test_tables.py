"""Tables of words and tags, and one format in training, evaluation and prediction."""

import gzip
import json

import pytest

from unrolled.data import Source
from unrolled.errors import DataError, OptionError
from unrolled.tasks.tag.conll import TaggedSentence
from unrolled.tasks.tag.options import DataOptions
from unrolled.tasks.tag.reader import read_sentences, untagged

EXPECTED = [
    TaggedSentence(("Maria", "canta"), ("B-PER", "O")),
    TaggedSentence(("Rio",), ("B-LOC",)),
]
TAGS = ("B-PER", "O", "B-LOC")
KAGGLE = """Sentence #,Word,POS,Tag
Sentence: 1,Maria,NN,B-PER
,canta,VB,O
Sentence: 2,Rio,NN,B-LOC
"""
EVERY_ROW = "n\tword\ttag\n1\tMaria\tB-PER\n1\tcanta\tO\n2\tRio\tB-LOC\n"
LISTS = "".join(
    json.dumps({"id": n, "tokens": s.words, "ner_tags": s.tags}) + "\n"
    for n, s in enumerate(EXPECTED)
)


def options(path, **columns):
    return DataOptions(file=str(path), **columns)


CASES = {
    "ner.csv": (KAGGLE, {"sentence": "Sentence #", "word_column": "Word", "column": "Tag"}),
    "ner.tsv": (EVERY_ROW, {"sentence": "n", "word_column": "word", "column": "tag"}),
    "ner.jsonl": (LISTS, {"word_column": "tokens", "column": "ner_tags"}),
    "ner.txt": ("Maria B-PER\ncanta O\n\nRio B-LOC\n", {}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("packed", [False, True])
def test_sentences_are_read_alike_for_training_and_for_prediction(tmp_path, name, packed):
    content, columns = CASES[name]
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    chosen = options(path, **columns)
    assert read_sentences(path, chosen) == (EXPECTED, [])
    words = [tuple(words) for words in untagged(Source.file(path), chosen, TAGS)]
    assert words == [sentence.words for sentence in EXPECTED]


def test_rows_without_a_word_are_counted(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(KAGGLE + ",,NN,O\n")
    _, notes = read_sentences(path, options(path, **CASES["ner.csv"][1]))
    assert notes == [f"{path}: 1 rows without a word left out"]


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("a.csv", KAGGLE + ",x,NN,\n", CASES["ner.csv"][1], "line 5: the tag is empty"),
        ("a.csv", KAGGLE, {"sentence": "Sentence #", "column": "Tag"}, "which column is it"),
        ("a.csv", KAGGLE, {"sentence": "no", "word_column": "Word", "column": "Tag"}, "no column"),
        (
            "a.jsonl",
            '{"t": ["a"], "g": []}\n',
            {"word_column": "t", "column": "g"},
            "1 words and 0",
        ),
        ("a.jsonl", '{"t": "a", "g": []}\n', {"word_column": "t", "column": "g"}, "is not a list"),
        ("a.jsonl", '{"t": [1], "g": [2]}\n', {"word_column": "t", "column": "g"}, "no word"),
        ("a.jsonl", '{"t": ["a"], "g": [[]]}\n', {"word_column": "t", "column": "g"}, "no tag"),
        ("a.jsonl", '{"t": [], "g": []}\n', {"word_column": "t", "column": "g"}, "no word in it"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(tmp_path, name, content, columns, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises((DataError, OptionError), match=message):
        read_sentences(path, options(path, **columns))
