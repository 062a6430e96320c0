"""Tables of words and tags, and one format in training, evaluation and prediction."""

import gzip
import io
import json
import sys

import pytest

from unrolled.data import Source
from unrolled.errors import DataError, OptionError
from unrolled.tasks.tag.conll import TaggedSentence
from unrolled.tasks.tag.options import DataOptions
from unrolled.tasks.tag.reader import read_others, read_parts, read_sentences, untagged

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


# ---- whatever the training was on, a file is read as what it is -------------------------------

CONLL = "Maria B-PER\ncanta O\n\nRio B-LOC\n"
CONLLU = "# sent_id = 1\n" + "".join(
    f"{n}\t{word}\t_\t{tag}\t_\t_\t0\t_\t_\t_\n{end}"
    for n, word, tag, end in (
        (1, "Maria", "B-PER", ""),
        (2, "canta", "O", "\n"),
        (1, "Rio", "B-LOC", ""),
    )
)
FILES = {**{name: content for name, (content, _) in CASES.items()}, "u.conllu": CONLLU}


@pytest.mark.parametrize("trained_on", ["ner.csv", "ner.jsonl"])
@pytest.mark.parametrize("name", ["ner.txt", "u.conllu", "u.txt", "ner.tab"])
def test_conll_is_read_as_such_by_a_tagger_of_tables(tmp_path, trained_on, name):
    columns = CASES[trained_on][1]
    path = tmp_path / name
    path.write_text({"u.txt": CONLLU, "ner.tab": CONLL.replace(" ", "\t")}.get(name) or FILES[name])
    chosen = options(tmp_path / trained_on, **columns)
    sentences, notes = read_others(path, chosen, TAGS)
    assert sentences == EXPECTED
    assert "CoNLL, where the training was on a table" in notes[-1]
    words = [tuple(words) for words in untagged(Source.file(path), chosen, TAGS)]
    assert words == [sentence.words for sentence in EXPECTED]


@pytest.mark.parametrize("name", ["ner.csv", "ner.jsonl", "plain.csv", "plain.tsv"])
def test_a_table_is_not_read_as_sentences_by_a_tagger_of_conll(tmp_path, name):
    path = tmp_path / name
    path.write_text(FILES.get(name) or "id,text\n1,Maria canta\n2,Rio\n".replace(",", "\t"))
    chosen = options("train.conll")
    with pytest.raises(DataError, match="a table by its name, and the training was on CoNLL"):
        list(untagged(Source.file(path), chosen, TAGS))
    with pytest.raises(DataError, match="a table by its name, and the training was on CoNLL"):
        read_others(path, chosen, TAGS)


def test_a_table_of_another_name_is_known_by_its_columns(tmp_path):
    path = tmp_path / "ner.txt"
    path.write_text(KAGGLE)
    chosen = options("train.csv", **CASES["ner.csv"][1])
    words = [tuple(words) for words in untagged(Source.file(path), chosen, TAGS)]
    assert words == [sentence.words for sentence in EXPECTED]
    assert read_others(path, chosen, TAGS)[0] == EXPECTED


def test_a_held_out_file_may_be_of_another_format(tmp_path):
    train, other = tmp_path / "ner.csv", tmp_path / "dev.conll"
    train.write_text(KAGGLE)
    other.write_text(CONLL)
    columns = CASES["ner.csv"][1]
    chosen = options(train, **columns, held_out_file=str(other), test=0)
    assert read_parts(chosen, 0).held_out == EXPECTED


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (CONLL, [("Maria", "canta"), ("Rio",)]),
        (CONLLU, [("Maria", "canta"), ("Rio",)]),
        (f"# id 1\tdomain=pt\n{CONLL}", [("Maria", "canta"), ("Rio",)]),
        ("#Maria canta\n", [("#Maria", "canta")]),
        ("Maria canta\nRio\n", [("Maria", "canta"), ("Rio",)]),
        ("Rio O\nMaria canta hoje\n", [("Rio", "O"), ("Maria", "canta", "hoje")]),
    ],
)
@pytest.mark.parametrize("piped", [True, False])
def test_what_has_no_name_is_known_by_its_first_lines(monkeypatch, content, expected, piped):
    stdin = type("Stdin", (), {"buffer": io.BytesIO(content.encode())})
    monkeypatch.setattr(sys, "stdin", stdin)
    source = Source.stdin() if piped else Source.text(content)
    assert [tuple(words) for words in untagged(source, options("train.conll"), TAGS)] == expected


def test_a_sentence_that_is_no_columns_is_answered_before_the_next_comes(monkeypatch):
    def lines():
        yield b"Maria canta\n"
        raise AssertionError("nobody has answered yet")

    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": lines()}))
    assert next(untagged(Source.stdin(), options("train.conll"), TAGS)) == ["Maria", "canta"]


def test_a_table_on_the_standard_input_is_not_read_as_sentences(monkeypatch):
    stdin = type("Stdin", (), {"buffer": io.BytesIO(KAGGLE.encode())})
    monkeypatch.setattr(sys, "stdin", stdin)
    chosen = options("train.csv", **CASES["ner.csv"][1])
    with pytest.raises(DataError, match="standard input: begins with the header of a table"):
        list(untagged(Source.stdin(), chosen, TAGS))
